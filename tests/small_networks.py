"""Small networks for the tests of the exports."""

import torch
from torch import nn

import saam
from saam.models import Preprocessing
from saam.nn import ScorePool2d

SMALL = Preprocessing((16, 20), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), ("cat", "dog", "bird"))


def tiny(attention="saam", **options):
    """Return a network of two sites, "1" and "4", with scores that are not zero and with its preprocessing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)),
        )
        saam.attach(network, attention, where=["1", "4"], **options)
        for module in network.modules():
            if isinstance(module, ScorePool2d):
                nn.init.normal_(module.weight)
    network.preprocessing = SMALL
    return network.eval()
