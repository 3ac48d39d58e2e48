"""Explain a network: predictions, score maps, Grad-CAM, gates, pictures of them, and measures of how good maps are.

Functions for a whole data set or comparison are in :mod:`saam.report.examples`.
"""

from saam.explain.attribution import grad_cam, integrated_gradients
from saam.explain.explanation import Explanation, explain
from saam.explain.faithfulness import deletion, insertion, road
from saam.explain.gate_use import GateUse, gate_factors, gate_use
from saam.explain.localisation import area_share, mass_share, pointing_game, relative_mass
from saam.explain.observe import observe
from saam.explain.overlay import ScoreMapStrip, overlay, strip
from saam.explain.photographs import find_photographs, read_photograph
from saam.explain.score_maps import score_maps
from saam.explain.score_use import ScoreUse, score_use
from saam.explain.trust import Trust, trust

__all__ = [
    "Explanation",
    "GateUse",
    "ScoreMapStrip",
    "ScoreUse",
    "Trust",
    "area_share",
    "deletion",
    "explain",
    "find_photographs",
    "gate_factors",
    "gate_use",
    "grad_cam",
    "insertion",
    "integrated_gradients",
    "mass_share",
    "observe",
    "overlay",
    "pointing_game",
    "read_photograph",
    "relative_mass",
    "road",
    "score_maps",
    "score_use",
    "strip",
    "trust",
]
