"""
How scores move while a network learns
======================================

Scores start at zero, where the squeeze is the mean. ``score_use`` measures how far they have moved: the *share* is
the fraction of pixels that count, and the *lift* is the largest weight in times the mean's. Observed after every
epoch, they tell whether the learned squeeze is used at all, and at which sites.
"""

import matplotlib.pyplot as plt

import saam
from saam.data import load_data
from saam.explain import observe
from saam.training import create_recipe, fit

splits = load_data("photo-digits", train=3000, validation=200, test=100, distractors=0, digit_size=(20, 28))
network = saam.create_model("resnet8", stem_stride=2, attention="saam", start="identity", seed=0)
recipe = create_recipe("demo", epochs=8, learning_rate=0.1, weight_decay=5e-4)
curve = fit(network, splits, recipe, seed=0, device="cpu", observe=observe).result.curve

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
epochs = [record.epoch for record in curve]
for site in curve[0].observed["score_use"]:
    use = [record.observed["score_use"][site] for record in curve]
    left.plot(epochs, [100 * entry["share"] for entry in use], marker="o", label=site)
    right.plot(epochs, [entry["lift"] for entry in use], marker="o", label=site)
left.set(xlabel="epoch", ylabel="share of pixels that count, %", ylim=(None, 101))
right.set(xlabel="epoch", ylabel="largest weight, times the mean's")
left.legend(frameon=False)
figure.tight_layout()
