"""Inspect attention: what each gate does, score maps, pictures of them, and measures against a mask.

Functions for a whole data set or comparison are in :mod:`saam.report.examples`.
"""

from saam.explain.gate_use import GateUse, gate_factors, gate_use
from saam.explain.localisation import area_share, mass_share, pointing_game, relative_mass
from saam.explain.observe import observe
from saam.explain.overlay import ScoreMapStrip, overlay, strip
from saam.explain.score_maps import score_maps
from saam.explain.score_use import ScoreUse, score_use

__all__ = [
    "GateUse",
    "ScoreMapStrip",
    "ScoreUse",
    "area_share",
    "gate_factors",
    "gate_use",
    "mass_share",
    "observe",
    "overlay",
    "pointing_game",
    "relative_mass",
    "score_maps",
    "score_use",
    "strip",
]
