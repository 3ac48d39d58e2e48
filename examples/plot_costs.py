"""
What the modules cost
=====================

``take_turns`` times its contenders round by round, so that a slow phase of the machine hits all of them. Parameters
say little about time: modules that compute whole maps of their own take longest, whatever their size. The bars are
medians with quartiles, measured on the machine that built this page.
"""

import matplotlib.pyplot as plt
import torch

import saam
from saam.measure import count_parameters, take_turns

torch.manual_seed(0)
torch.set_num_threads(1)
channels = 64
names = ("ge-minus", "eca", "se", "saam", "cbam-channel", "simam", "coord", "triplet", "cbam", "bam")
modules = {name: saam.create_attention(name, channels) for name in names}
x = torch.randn(16, channels, 28, 28, requires_grad=True)


def step(module: torch.nn.Module) -> None:
    """Run forward and backward once."""
    module(x).sum().backward()


times = take_turns({name: lambda m=m: step(m) for name, m in modules.items()}, rounds=15, seconds=8)

# %%

quartiles = {name: 1000 * torch.tensor(times[name][1:]).quantile(torch.tensor([0.25, 0.5, 0.75])) for name in names}
figure, axes = plt.subplots(figsize=(8, 3.8))
for place, name in enumerate(sorted(names, key=lambda name: quartiles[name][1])):
    low, middle, high = quartiles[name].tolist()
    axes.barh(place, middle, xerr=[[middle - low], [high - middle]], color="#2a6f97", ecolor="0.4")
    axes.text(high, place, f"  {count_parameters(modules[name]):,} parameters", va="center", fontsize=9)
axes.set_yticks(range(len(names)), sorted(names, key=lambda name: quartiles[name][1]))
axes.set(xlabel=f"forward and backward, ms, map {tuple(x.shape)}")
axes.spines[["top", "right"]].set_visible(False)
axes.set_xlim(0, 1.35 * axes.get_xlim()[1])
figure.tight_layout()
