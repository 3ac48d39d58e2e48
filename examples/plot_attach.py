"""
Attach attention to a timm network
==================================

``saam.attach`` puts attention at the end of every residual branch. It starts as the identity, so the outputs are
equal bit for bit: a pretrained network keeps what it knows. The picture compares the logits before and after, for the
identity start and for the start of the SE paper, whose gates begin at a half.
"""

import matplotlib.pyplot as plt
import timm
import torch

import saam

torch.manual_seed(0)
network = timm.create_model("resnet18", num_classes=100, zero_init_last=False).eval()  # or pretrained=True
x = torch.randn(4, 3, 64, 64)
with torch.no_grad():
    before = network(x)
    print(saam.attach(network, "se"))
    identity = network(x)
    saam.detach(network)
    saam.attach(network, "se", start="default")
    default = network(x)
    saam.detach(network)
    after = network(x)
assert torch.equal(before, identity)
assert torch.equal(before, after)

# %%

figure, panels = plt.subplots(1, 2, figsize=(8.5, 4), sharex=True, sharey=True)
for panel, logits, name in zip(panels, (identity, default), ("start='identity'", "start='default'"), strict=True):
    panel.axline((0, 0), slope=1, color="0.7", linewidth=1)
    panel.scatter(before.flatten().numpy(), logits.flatten().numpy(), s=8, color="#e07a1f")
    change = (logits - before).abs().max().item()
    panel.set(title=f"{name}\nlargest change {change:.2g}", xlabel="logits before attach")
panels[0].set_ylabel("logits after attach")
figure.tight_layout()
