"""Slow, literal references for the modules outside the grammar: loops and sums, no layer of torch or of the library.

Each takes a float64 map (B, C, H, W), the module's tensors by their names, and whether it trains; norms then update the
running statistics among these tensors. All are differentiable.
"""

import torch


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def relu(x):
    return torch.where(x > 0, x, torch.zeros_like(x))


def linear(x, weights, name):
    """(B, in) -> (B, out), or (B, in, ...) -> (B, out, ...) for a convolution of one pixel."""
    weight = weights[name + ".weight"].flatten(1)
    bias = weights[name + ".bias"]
    return torch.einsum("bi...,oi->bo...", x, weight) + bias.reshape(-1, *[1] * (x.ndim - 2))


def convolution(x, weights, name, dilation=1):
    """(B, in, H, W) -> (B, out, H, W) with an odd kernel; pixels outside are zero."""
    kernel = weights[name + ".weight"]
    batch, channels, height, width = x.shape
    margin = dilation * (kernel.shape[-1] // 2)
    framed = x.new_zeros(batch, channels, height + 2 * margin, width + 2 * margin)
    framed[:, :, margin : margin + height, margin : margin + width] = x
    out = 0
    for row in range(kernel.shape[2]):
        for column in range(kernel.shape[3]):
            down, right = dilation * row, dilation * column
            seen = framed[:, :, down : down + height, right : right + width]
            out = out + torch.einsum("bihw,oi->bohw", seen, kernel[:, :, row, column])
    if name + ".bias" in weights:
        out = out + weights[name + ".bias"][None, :, None, None]
    return out


def norm(x, weights, name, training, momentum):
    """Batch norm of (B, C, ...), channel by channel."""
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training:
            count = values.numel()
            mean = values.sum() / count
            variance = ((values - mean) ** 2).sum() / count
            old_mean, old_variance = weights[name + ".running_mean"], weights[name + ".running_var"]
            old_mean[c] = (1 - momentum) * old_mean[c] + momentum * mean.item()
            old_variance[c] = (1 - momentum) * old_variance[c] + momentum * variance.item() * count / (count - 1)
        else:
            mean, variance = weights[name + ".running_mean"][c], weights[name + ".running_var"][c]
        normed = (values - mean) / (variance + 1e-5) ** 0.5
        channels.append(normed * weights[name + ".weight"][c] + weights[name + ".bias"][c])
    return torch.stack(channels, 1)


def score_context(x, weight):
    """Pool with one softmax map of the scaled scores: (B, C, H, W) -> (B, C)."""
    scores = torch.einsum("bchw,gc->bghw", x, weight.flatten(1))
    grown = torch.exp(scores)
    return (grown * x).sum((2, 3)) / grown.sum((2, 3))


def spatial_gate(x, weights, name, training):
    """CBAM's gate (B, 1, H, W): maximum before mean."""
    pooled = torch.stack([torch.stack(x.unbind(1)).max(0).values, sum(x.unbind(1)) / x.shape[1]], 1)
    return sigmoid(norm(convolution(pooled, weights, name + ".conv"), weights, name + ".norm", training, 0.01))


def cbam(x, weights, training, squeeze="mean+max"):
    pixels = x.flatten(2)
    if squeeze == "score":
        statistics = [score_context(x, weights["channel.squeeze.weight"])]
    else:
        statistics = [pixels.sum(2) / pixels.shape[2], pixels.max(2).values]
    logits = sum(
        linear(relu(linear(statistic, weights, "channel.excitation.fc1")), weights, "channel.excitation.fc2")
        for statistic in statistics
    )
    y = x * sigmoid(logits)[:, :, None, None]
    return y * spatial_gate(y, weights, "spatial", training)


def bam(x, weights, training, combination, squeeze):
    if squeeze == "score":
        statistic = score_context(x, weights["squeeze.weight"])
    else:
        statistic = x.flatten(2).sum(2) / x[0, 0].numel()
    hidden = norm(linear(statistic, weights, "excitation.fc1"), weights, "excitation.norm", training, 0.1)
    channel = linear(relu(hidden), weights, "excitation.fc2")[:, :, None, None]
    y = x
    for step in (0, 3, 6):
        y = convolution(y, weights, f"spatial.{step}", dilation=1 if step == 0 else 4)
        y = relu(norm(y, weights, f"spatial.{step + 1}", training, 0.1))
    spatial = convolution(y, weights, "spatial.9")
    return x * (1 + sigmoid({"product": channel * spatial, "sum": channel + spatial}[combination]))


def simam(x):
    planes = []
    for image in x:
        for plane in image:
            deviation = (plane - plane.mean()) ** 2
            others = plane.numel() - 1
            variance = deviation.sum() / others if others else 0.0
            planes.append(plane * sigmoid(deviation / (4 * (variance + 1e-4)) + 0.5))
    return torch.stack(planes).reshape(x.shape)


def coord(x, weights, training):
    height, width = x.shape[2:]
    rows = [sum(x[:, :, i, j] for j in range(width)) / width for i in range(height)]
    columns = [sum(x[:, :, i, j] for i in range(height)) / height for j in range(width)]
    joint = norm(linear(torch.stack(rows + columns, 2), weights, "reduce"), weights, "norm", training, 0.1)
    inner = torch.where(joint <= -3, 0.0, torch.where(joint >= 3, 1.0, (joint + 3) / 6))
    joint = joint * inner
    row_gate = sigmoid(linear(joint[:, :, :height], weights, "expand_rows"))
    column_gate = sigmoid(linear(joint[:, :, height:], weights, "expand_columns"))
    return torch.einsum("bchw,bch,bcw->bchw", x, row_gate, column_gate)


def triplet(x, weights, training):
    """Turn the whole map, as the paper draws it."""
    turns = {"over_channels": (0, 1, 2, 3), "over_rows": (0, 2, 1, 3), "over_columns": (0, 3, 2, 1)}
    total = torch.zeros_like(x)
    for name, turn in turns.items():
        turned = x.permute(turn)
        total = total + (turned * spatial_gate(turned, weights, name, training)).permute(turn)
    return total / 3
