"""Results for tests that train nothing."""

from collections.abc import Sequence

import torch

from saam.training import ImageScores


def scores_of(losses: Sequence[float], correct: Sequence[bool]) -> ImageScores:
    """Scores of images whose label is 0 and whose confidence is a half."""
    wrong = (~torch.tensor(correct)).int()
    labels, confidence = torch.zeros_like(wrong), torch.full((len(wrong),), 0.5)
    return ImageScores(torch.tensor(losses), labels, wrong, confidence, wrong.clone())
