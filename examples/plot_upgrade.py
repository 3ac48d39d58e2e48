"""
Upgrade SE to a learned squeeze
===============================

``saam.upgrade`` replaces the mean in existing SE modules by a score squeeze and keeps all weights. Scores start at
zero, so the network computes the same. From there training can move the weights: here one gradient step on a single
batch already changes the score maps of every site.
"""

import matplotlib.pyplot as plt
import timm
import torch

import saam

torch.manual_seed(0)
network = timm.create_model("seresnet18", num_classes=10, zero_init_last=False).eval()
x, y = torch.randn(8, 3, 64, 64), torch.arange(8)
with torch.no_grad():
    before = network(x)
    print(saam.upgrade(network))
    print("largest change of the outputs:", (network(x) - before).abs().max().item())

# %%
# One step of the scorers alone, with a large learning rate:

scorers = [p for name, p in network.named_parameters() if name in saam.no_weight_decay(network)]
loss = torch.nn.functional.cross_entropy(network(x), y)
gradients = torch.autograd.grad(loss, scorers)
with torch.no_grad():
    for scorer, gradient in zip(scorers, gradients, strict=True):
        scorer -= 0.5 * gradient / gradient.norm()

use = saam.score_use(network, x)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), width_ratios=[2, 1])
left.bar(range(len(use)), [100 * entry.share for entry in use.values()], color="#2a6f97")
left.set_xticks(range(len(use)), [site.removesuffix(".se") for site in use], rotation=45, ha="right")
left.set(ylabel="share of pixels that count, %", title="after one step (100 % is the mean)", ylim=(0, 105))
site, weights = next(iter(saam.score_maps(network, x[:1]).items()))
shown = right.imshow((weights[0, 0] * weights[0, 0].numel()).numpy(), cmap="inferno", vmin=0)
right.set_title(f"weights at {site.removesuffix('.se')}\nin times the mean's", fontsize=10)
right.axis("off")
figure.colorbar(shown, ax=right)
figure.tight_layout()
