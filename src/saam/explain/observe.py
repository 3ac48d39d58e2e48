"""What is observed of a network's attention while it trains, as plain values for a record."""

from dataclasses import asdict

from torch import Tensor, nn

from saam.explain.gate_use import attentions_of, gate_use
from saam.explain.score_maps import has_scores
from saam.explain.score_use import score_use

__all__ = ["observe"]


def observe(model: nn.Module, x: Tensor) -> dict[str, dict[str, dict[str, float]]]:
    """Return how much a network uses its attention and its scores on images (B, C, H, W); empty without attention.

    Returns:
        {"gate_use": {site: fields of `GateUse`}, "score_use": {site: fields of `ScoreUse`}}, without what it lacks.
    """
    observed = {}
    if attentions_of(model):
        observed["gate_use"] = {site: asdict(use) for site, use in gate_use(model, x).items()}
    if has_scores(model):
        observed["score_use"] = {site: asdict(use) for site, use in score_use(model, x).items()}
    return observed
