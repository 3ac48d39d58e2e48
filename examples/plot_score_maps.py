"""
Score maps of a trained network
===============================

A score map shows how much each pixel weighs in the pooled value. Here a small ResNet with SAAM learns to read digits
on photographs for a few seconds. Then the weights of its three sites are drawn over test images, with their weight on
the digit relative to the mean's. No mask was used in training. Other seeds give other maps, so do not read one network
as a rule.
"""

import matplotlib.pyplot as plt

import saam
from saam.data import load_data, normalise
from saam.explain import overlay, relative_mass
from saam.training import create_recipe, fit

splits = load_data("photo-digits", train=3000, validation=200, test=300, distractors=0, digit_size=(20, 28))
network = saam.create_model("resnet8", stem_stride=2, attention="saam,temperature=0.3", start="identity", seed=0)
recipe = create_recipe("demo", epochs=8, learning_rate=0.1, weight_decay=5e-4)
done = fit(network, splits, recipe, seed=0, device="cpu")
print(f"{done.result.curve[-1].validation_accuracy:.1f} % of the validation images are right")

# %%
# Bright pixels weigh more than under mean pooling. The number is the weight on the digit relative to mean pooling,
# averaged over the test images.

images, masks = splits.test.images, splits.test.masks
maps = saam.score_maps(network, normalise(images, splits.mean, splits.std))
figure, panels = plt.subplots(1 + len(maps), 6, figsize=(9, 6.2))
for column in range(6):
    panels[0, column].imshow(images[column].permute(1, 2, 0).numpy())
    for row, weights in enumerate(maps.values(), 1):
        picture = overlay(images[column], weights[column].mean(0), ceiling=4.0)
        panels[row, column].imshow(picture.permute(1, 2, 0).numpy())
for row, (site, weights) in enumerate(maps.items(), 1):
    lift = relative_mass(weights, masks).mean().item()
    panels[row, 0].set_ylabel(f"{site}\n{lift:.2f}x on the digit", fontsize=9)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])
figure.tight_layout()
