"""
What a gate does
================

A gate multiplies every channel by a factor. Attention that starts as the identity has the factor 1 everywhere.
Training moves the factors away from 1, and lets them depend on the image: ``gate_factors`` returns them for each
image and channel. A site whose rows all look the same is a constant scale, which needs no attention. After this short
training the factors still differ more between channels than between digits.
"""

import matplotlib.pyplot as plt
import torch

import saam
from saam.data import load_data, normalise
from saam.explain import gate_factors, gate_use
from saam.training import create_recipe, fit

splits = load_data("photo-digits", train=3000, validation=200, test=300, distractors=0, digit_size=(20, 28))
network = saam.create_model("resnet8", stem_stride=2, attention="se", start="identity", seed=0)
fit(
    network,
    splits,
    create_recipe("demo", epochs=6, learning_rate=0.1, weight_decay=5e-4),
    seed=0,
    device="cpu",
)

# %%
# The factors of the last site, averaged over the test images of each digit:

x, labels = normalise(splits.test.images, splits.mean, splits.std), splits.test.labels
site = "layer3.0.bn2"
factors = gate_factors(network, x)[site]
by_digit = torch.stack([factors[labels == digit].mean(0) for digit in range(10)])
order = by_digit.std(0).argsort(descending=True)

figure, axes = plt.subplots(figsize=(9, 3))
reach = (by_digit - 1).abs().max().item()
shown = axes.imshow(by_digit[:, order].numpy(), cmap="coolwarm", vmin=1 - reach, vmax=1 + reach, aspect="auto")
axes.set(xlabel="channels, the most selective first", ylabel="digit", yticks=range(10))
use = gate_use(network, x)[site]
axes.set_title(
    f"factors at {site}: mean {use.factor:.2f}, over channels ±{use.channels:.2f}, over images ±{use.images:.2f}"
)
figure.colorbar(shown, ax=axes)
figure.tight_layout()
