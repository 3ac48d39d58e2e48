"""How many parameters each attention has, by its paper: what is built must have as many."""

import math


def width(channels, divisor=1):
    """C/16 to the nearest multiple of the divisor, at least one."""
    return max(divisor, int(channels / 16 + divisor / 2) // divisor * divisor)


def mlp(channels, hidden):
    return 2 * channels * hidden + hidden + channels


def se(channels):
    return mlp(channels, width(channels))


def gc(channels):
    return channels + 1 + se(channels) + 2 * width(channels)


def ge(channels, size=(7, 7)):
    height, width = size
    return channels * height * width + 2 * channels


def eca(channels):
    size = int((math.log2(channels) + 1) / 2)
    return size + (size + 1) % 2


def bam(channels):
    hidden = width(channels)
    return 3 * channels * hidden + 18 * hidden**2 + 13 * hidden + channels + 1


def coord(channels):
    hidden = max(8, channels // 32)
    return 3 * channels * hidden + 3 * hidden + 2 * channels


SPATIAL = 2 * 7 * 7 + 2

FORMULAS = {
    "se": se,
    "se:nobias": lambda channels: 2 * channels * width(channels),
    "se:timm": lambda channels: mlp(channels, width(channels, 8)),
    "ese": lambda channels: channels**2 + channels,
    "cbam-channel": se,
    "bam-channel": lambda channels: se(channels) + 2 * width(channels),
    "ge-minus": lambda channels: 0,
    "ge": ge,
    "ge-plus": lambda channels, size=(7, 7): ge(channels, size) + se(channels),
    "srm": lambda channels: 4 * channels,
    "eca": eca,
    "eca:3557": lambda channels, stage=1: (3, 5, 5, 7)[stage - 1],
    "eca:3577": lambda channels, stage=1: (3, 5, 7, 7)[stage - 1],
    "eca:3357": lambda channels, stage=1: (3, 3, 5, 7)[stage - 1],
    "gc": gc,
    "gc:mul": gc,
    "gct": lambda channels: 3 * channels,
    "fca": lambda channels: 2 * channels * width(channels),
    "gsop": lambda channels: 5 * 128 * channels + 4 * 128**2 + 9 * 128 + channels,
    "saam": lambda channels: se(channels) + channels,
    "cbam": lambda channels: se(channels) + SPATIAL,
    "bam:code": bam,
    "bam:paper": bam,
    "bam": bam,
    "simam": lambda channels: 0,
    "coord": coord,
    "triplet": lambda channels: 3 * SPATIAL,
}
"""Name -> function of C, and of the size (H, W) or the stage where the module needs it."""
