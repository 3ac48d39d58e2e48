"""
Pooling from minimum through mean to maximum
============================================

A score pool with the scorer ``"channel"`` has one number a per channel. It weighs the pixels of a channel by
softmax(a x): a very negative a picks the smallest value, a = 0 takes the mean, and a very positive a picks the
largest. Training moves a by its gradient, so the network chooses its own pooling between these.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import saam

photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).float() / 255
x = photograph[::16, ::16, :1].permute(2, 0, 1)[None]  # (1, 1, H, W): the red channel
pool = saam.ScorePool2d(1, scorer="channel")

# %%
# The weights of the pixels and the pooled value, for five values of a:

figure, panels = plt.subplots(1, 5, figsize=(11, 2.4))
for panel, a in zip(panels, (-40.0, -6.0, 0.0, 6.0, 40.0), strict=True):
    with torch.no_grad():
        pool.weight.fill_(a)
        weights, context = pool.score_map(x), pool(x)
    panel.imshow(weights[0, 0].numpy(), cmap="inferno", vmin=0)
    panel.set_title(f"a = {a:g}\npooled to {context.item():.3f}", fontsize=10)
    panel.axis("off")
figure.suptitle(f"minimum {x.min():.3f}, mean {x.mean():.3f}, maximum {x.max():.3f}", y=0.06, fontsize=10)
figure.tight_layout()
