"""Inspect a score squeeze: score maps, pictures of them, and measures against a mask.

Functions for a whole data set or comparison are in :mod:`saam.report.examples`.
"""

from saam.explain.localisation import area_share, mass_share, pointing_game, relative_mass
from saam.explain.overlay import ScoreMapStrip, overlay, strip
from saam.explain.score_maps import score_maps
from saam.explain.score_use import ScoreUse, observe, score_use

__all__ = [
    "ScoreMapStrip",
    "ScoreUse",
    "area_share",
    "mass_share",
    "observe",
    "overlay",
    "pointing_game",
    "relative_mass",
    "score_maps",
    "score_use",
    "strip",
]
