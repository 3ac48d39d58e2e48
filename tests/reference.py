"""Slow, literal references for every operation and module; they share no code with the library.

Those of modules take a map (B, C, H, W), the parameters and buffers by the module's names, and whether it is training;
they go image by image and channel by channel, and autograd can go through them.
"""

import math

import torch


def score_aggregate(x, scores, temperature):
    """Nested lists (B, C, H, W) and (B, G, H, W) -> (B, C), pixel by pixel."""
    context = []
    for image, image_scores in zip(x, scores, strict=True):
        heads = len(image_scores)
        group = len(image) // heads
        row = []
        for channel, pixels in enumerate(image):
            score = image_scores[channel // group]
            highest = max(max(line) for line in score)
            total = weighted = 0.0
            for pixel_line, score_line in zip(pixels, score, strict=True):
                for pixel, s in zip(pixel_line, score_line, strict=True):
                    weight = math.exp((s - highest) / temperature)
                    total += weight
                    weighted += weight * pixel
            row.append(weighted / total)
        context.append(row)
    return context


# Statistics: the pixels of one channel, a vector, -> a number.


def mean(pixels):
    return sum(pixels) / len(pixels)


def maximum(pixels):
    return max(pixels)


def deviation(pixels):
    if len(pixels) == 1:
        return (0 * pixels[0] + 1e-5) ** 0.5
    centre = mean(pixels)
    return (sum((pixel - centre) ** 2 for pixel in pixels) / (len(pixels) - 1) + 1e-5) ** 0.5


def l2(pixels):
    return (sum(pixel**2 for pixel in pixels) + 1e-5) ** 0.5


def gem(pixels, exponent=3.0):
    return mean([pixel.clamp(min=1e-6) ** exponent for pixel in pixels]) ** (1 / exponent)


def log_sum_exp(pixels, sharpness=1.0):
    return mean([(sharpness * pixel).exp() for pixel in pixels]).log() / sharpness


def softpool(pixels):
    return sum(pixel.exp() * pixel for pixel in pixels) / sum(pixel.exp() for pixel in pixels)


def per_channel(x, *statistics):
    """(B, C, H, W) -> (B, C) for one statistic, (B, K, C) for K of them."""
    values = [
        [torch.stack([statistic(list(channel.flatten())) for channel in image]) for statistic in statistics]
        for image in x
    ]
    return torch.stack([torch.stack(rows) if len(rows) > 1 else rows[0] for rows in values])


def covariance(x):
    """(B, C, H, W) -> (B, C, C)."""
    matrices = []
    for image in x:
        centred = [channel.flatten() - channel.mean() for channel in image]
        matrices.append(torch.stack([torch.stack([(a * b).mean() for b in centred]) for a in centred]))
    return torch.stack(matrices)


def attention_pool(x, weight, bias, temperature):
    """One pixel scorer (G, C, 1, 1), a softmax over the pixels for each of its maps: (B, C, H, W) -> (B, C)."""
    heads = weight.shape[0]
    contexts = []
    for image in x:
        context = []
        for head in range(heads):
            score = sum(image[c] * weight[head, c, 0, 0] for c in range(len(image)))
            score = (score if bias is None else score + bias[head]).flatten() / temperature
            share = score.exp() / score.exp().sum()
            group = len(image) // heads
            context += [(image[c].flatten() * share).sum() for c in range(head * group, (head + 1) * group)]
        contexts.append(torch.stack(context))
    return torch.stack(contexts)


def average_to(channel, height, width):
    """Adaptive average pooling of (H, W): each target pixel is the mean of the pixels that it touches."""

    def window(index, target, source):
        return math.floor(index * source / target), math.ceil((index + 1) * source / target)

    rows = []
    for i in range(height):
        top, bottom = window(i, height, channel.shape[0])
        row = []
        for j in range(width):
            left, right = window(j, width, channel.shape[1])
            row.append(channel[top:bottom, left:right].mean())
        rows.append(torch.stack(row))
    return torch.stack(rows)


TOP16 = "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22"


def cosine_transform(x, frequencies=16, size=None):
    """FcaNet's squeeze: (B, C, H, W) -> (B, C)."""
    pairs = [(int(u), int(v)) for u, v in TOP16.split()][:frequencies]
    images = []
    for image in x:
        values = []
        for c, channel in enumerate(image):
            map_ = channel if size is None else average_to(channel, *size)
            height, width = map_.shape
            u, v = pairs[c // (len(image) // frequencies)]
            u, v = u * (height // 7), v * (width // 7)
            basis = torch.zeros_like(map_)
            norm = math.sqrt((2 if u else 1) / height) * math.sqrt((2 if v else 1) / width)
            for i in range(height):
                for j in range(width):
                    wave = math.cos(math.pi * u * (i + 0.5) / height) * math.cos(math.pi * v * (j + 0.5) / width)
                    basis[i, j] = wave * norm
            values.append((map_ * basis).sum())
        images.append(torch.stack(values))
    return torch.stack(images)


def depthwise(x, weight):
    """A weight for every pixel of every channel: (B, C, H, W), (C, 1, H, W) -> (B, C)."""
    return torch.stack([torch.stack([(image[c] * weight[c, 0]).sum() for c in range(len(image))]) for image in x])


def conv1x1(x, weight, bias):
    """(B, C, H, W), (D, C, 1, 1), (D,) -> (B, D, H, W)."""
    maps = []
    for image in x:
        rows = [sum(image[c] * row[c, 0, 0] for c in range(len(image))) for row in weight]
        maps.append(torch.stack([row + b for row, b in zip(rows, bias, strict=True)]))
    return torch.stack(maps)


# Layers on vectors (B, F).


def linear(z, weight, bias=None):
    rows = []
    for vector in z:
        row = torch.stack([sum(weight[o, i] * vector[i] for i in range(len(vector))) for o in range(len(weight))])
        rows.append(row if bias is None else row + bias)
    return torch.stack(rows)


def relu(z):
    return torch.where(z > 0, z, 0 * z)


def sigmoid(z):
    return 1 / (1 + (-z).exp())


def batch_norm(z, p, name, training):
    """(B, F), or (B, F, L) with one mean and variance for each F."""
    features = []
    for f in range(z.shape[1]):
        values = z[:, f]
        centre, spread = p[f"{name}.running_mean"][f], p[f"{name}.running_var"][f]
        if training:
            centre = values.mean()
            spread = ((values - centre) ** 2).mean()
        normed = (values - centre) / (spread + 1e-5) ** 0.5
        features.append(normed * p[f"{name}.weight"][f] + p[f"{name}.bias"][f])
    return torch.stack(features, 1)


def layer_norm(z, weight, bias):
    rows = []
    for vector in z:
        centre = vector.mean()
        spread = ((vector - centre) ** 2).mean()
        rows.append((vector - centre) / (spread + 1e-5) ** 0.5 * weight + bias)
    return torch.stack(rows)


def scaled(x, factor):
    """Every channel times its own factor (B, C)."""
    return torch.stack(
        [torch.stack([channel * f for channel, f in zip(*pair, strict=True)]) for pair in zip(x, factor, strict=True)]
    )


# Modules.


def mlp(z, p, name="excitation"):
    hidden = relu(linear(z, p[f"{name}.fc1.weight"], p.get(f"{name}.fc1.bias")))
    return linear(hidden, p[f"{name}.fc2.weight"], p.get(f"{name}.fc2.bias"))


def se(x, p, training):
    return scaled(x, sigmoid(mlp(per_channel(x, mean), p)))


def saam(x, p, training, temperature):
    context = attention_pool(x, p["squeeze.weight"], None, temperature)
    return scaled(x, sigmoid(mlp(context, p)))


def ese(x, p, training):
    z = linear(per_channel(x, mean), p["excitation.fc.weight"], p["excitation.fc.bias"])
    return scaled(x, torch.clamp(z + 3, 0, 6) / 6)


def cbam_channel(x, p, training):
    return scaled(x, sigmoid(mlp(per_channel(x, mean), p) + mlp(per_channel(x, maximum), p)))


def bam_channel(x, p, training):
    z = linear(per_channel(x, mean), p["excitation.fc1.weight"], p["excitation.fc1.bias"])
    z = relu(batch_norm(z, p, "excitation.norm", training))
    z = linear(z, p["excitation.fc2.weight"], p["excitation.fc2.bias"])
    return scaled(x, 1 + sigmoid(z))


def ge_minus(x, p, training):
    return scaled(x, sigmoid(per_channel(x, mean)))


def ge(x, p, training):
    z = depthwise(x, p["squeeze.weight"])
    return scaled(x, sigmoid(batch_norm(z, p, "excitation.norm", training)))


def ge_plus(x, p, training):
    z = depthwise(x, p["squeeze.weight"])
    z = relu(batch_norm(z, p, "excitation.norm.norm", training))
    return scaled(x, sigmoid(mlp(z, p, "excitation.mlp")))


def srm(x, p, training):
    weight = p["excitation.weight"]
    z = per_channel(x, mean) * weight[0] + per_channel(x, deviation) * weight[1]
    return scaled(x, sigmoid(batch_norm(z, p, "excitation.norm", training)))


def eca(x, p, training):
    kernel = p["excitation.conv.weight"][0, 0]
    z = per_channel(x, mean)
    channels = z.shape[1]
    logits = []
    for c in range(channels):
        places = [(k, c + k - len(kernel) // 2) for k in range(len(kernel))]
        logits.append(sum(kernel[k] * z[:, place] for k, place in places if 0 <= place < channels))
    return scaled(x, sigmoid(torch.stack(logits, 1)))


def context_transform(x, p):
    context = attention_pool(x, p["squeeze.weight"], p["squeeze.bias"], 1)
    z = linear(context, p["excitation.fc1.weight"], p["excitation.fc1.bias"])
    z = relu(layer_norm(z, p["excitation.norm.weight"], p["excitation.norm.bias"]))
    return linear(z, p["excitation.fc2.weight"], p["excitation.fc2.bias"])


def gc(x, p, training):
    addend = context_transform(x, p)
    return torch.stack(
        [torch.stack([channel + a for channel, a in zip(*pair, strict=True)]) for pair in zip(x, addend, strict=True)]
    )


def gc_mul(x, p, training):
    return scaled(x, sigmoid(context_transform(x, p)))


def gct(x, p, training):
    factors = []
    for vector in per_channel(x, l2):
        embedding = p["excitation.alpha"][0] * vector
        normed = embedding / (sum(e**2 for e in embedding) / len(embedding) + 1e-5) ** 0.5
        factors.append(1 + (p["excitation.gamma"] * normed + p["excitation.beta"]).tanh())
    return scaled(x, torch.stack(factors))


def fca(x, p, training, size=None):
    return scaled(x, sigmoid(mlp(cosine_transform(x, size=size), p)))


def gsop(x, p, training):
    reduced = conv1x1(relu(x), p["squeeze.conv.weight"], p["squeeze.conv.bias"])
    reduced = relu(batch_norm(reduced, p, "squeeze.norm", training))
    rows = batch_norm(covariance(reduced), p, "excitation.norm", training)
    kernel = p["excitation.conv.weight"]
    sums = [
        [(kernel[o, 0] * matrix[o // 4]).sum() + p["excitation.conv.bias"][o] for o in range(len(kernel))]
        for matrix in rows
    ]
    z = torch.stack([torch.stack(row) for row in sums])
    return scaled(x, sigmoid(linear(z, p["excitation.fc.weight"], p["excitation.fc.bias"])))
