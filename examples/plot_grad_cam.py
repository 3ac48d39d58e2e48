"""
Grad-CAM beside score maps
==========================

Grad-CAM asks which pixels of the last map raise the logit of a class; it needs a gradient and differs from class to
class. A score map is a part of the forward pass: the weights with which the network itself pools. The two answer
different questions, so they need not agree.
"""

import matplotlib.pyplot as plt

import saam
from saam.data import load_data, normalise
from saam.explain import grad_cam, overlay
from saam.training import create_recipe, fit

splits = load_data("photo-digits", train=3000, validation=200, test=300, distractors=0, digit_size=(20, 28))
network = saam.create_model("resnet8", stem_stride=2, attention="saam,temperature=0.3", start="identity", seed=0)
fit(
    network,
    splits,
    create_recipe("demo", epochs=8, learning_rate=0.1, weight_decay=5e-4),
    seed=0,
    device="cpu",
)
network.eval()

# %%
# Both are normalised to sum to one and drawn on the same scale, times the weight of mean pooling.

images = splits.test.images[:6]
x = normalise(images, splits.mean, splits.std)
predicted = network(x).argmax(1)
cam = grad_cam(network, x, predicted)
*_, scores = saam.score_maps(network, x).values()

figure, panels = plt.subplots(3, 6, figsize=(9, 4.8))
for column, image in enumerate(images):
    rows = (image, overlay(image, cam[column, 0], ceiling=4.0), overlay(image, scores[column].mean(0), ceiling=4.0))
    for row, picture in enumerate(rows):
        panels[row, column].imshow(picture.permute(1, 2, 0).numpy())
        panels[row, column].set(xticks=[], yticks=[])
    panels[0, column].set_title(f"predicted {predicted[column]}", fontsize=9)
for row, name in enumerate(("image", "Grad-CAM", "score map")):
    panels[row, 0].set_ylabel(name)
figure.tight_layout()
