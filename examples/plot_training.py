"""
Train an epoch with and without attention
=========================================

The same ResNet-8 is trained for an epoch without attention, with SE and with SAAM. For one seed all three start from
the same weights of the backbone, see the same batches and, because attention starts as the identity, compute the same
at the first step. What the curves show afterwards is the attention, for this seed; a comparison needs more seeds.
"""

import matplotlib.pyplot as plt
import torch

import saam
from saam.data import load_data, train_batches

splits = load_data("photo-digits", train=3000, validation=100, test=100, distractors=0, digit_size=(20, 28))


def losses(attention: str, seed: int = 0) -> list[float]:
    """Train for one epoch, and return the loss of each step."""
    network = saam.create_model("resnet8", stem_stride=2, attention=attention, start="identity", seed=seed)
    exempt = saam.no_weight_decay(network)
    groups = [
        {"params": [p for n, p in network.named_parameters() if (n in exempt) == free], "weight_decay": decay}
        for free, decay in ((False, 5e-4), (True, 0.0))
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=2e-3)
    seen = []
    for images, labels in train_batches(splits, batch_size=25, seed=seed).epoch(0):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


# %%

figure, axes = plt.subplots(figsize=(8, 3.6))
for attention, colour in (("none", "0.5"), ("se", "#2a6f97"), ("saam", "#e07a1f")):
    curve = torch.tensor(losses(attention))
    print(f"{attention}: loss {curve[0]:.6f} at the first step, {curve[-20:].mean():.3f} over the last 20")
    smooth = torch.nn.functional.avg_pool1d(curve[None], 15, 1, padding=7, count_include_pad=False)[0]
    axes.plot(smooth.numpy(), color=colour, label=attention)
axes.set(xlabel="step", ylabel="training loss, mean of 15 steps")
axes.legend(frameon=False)
figure.tight_layout()
