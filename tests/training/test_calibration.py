import math

import pytest
import torch

from saam.training.calibration import calibration_error, reliability


def test_bins_by_hand() -> None:
    """Two bins: .5 belongs to the lower one, which is right once in two; the upper one is right."""
    found = reliability(torch.tensor([0.2, 0.5, 0.9]), torch.tensor([True, False, True]), bins=2)
    assert found.count.tolist() == [2, 1]
    assert found.confidence.tolist() == pytest.approx([0.35, 0.9])
    assert found.accuracy.tolist() == [0.5, 1.0]
    error = calibration_error(torch.tensor([0.2, 0.5, 0.9]), torch.tensor([True, False, True]), bins=2)
    assert error == pytest.approx(100 * (2 * 0.15 + 0.1) / 3, abs=1e-5)


def test_ends_and_empty_bins() -> None:
    found = reliability(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    assert found.count.tolist() == [1] + 13 * [0] + [1]
    assert calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([False, True])) == 0.0


def test_a_calibrated_network_has_a_small_error() -> None:
    generator = torch.Generator().manual_seed(0)
    sure = torch.rand(200_000, generator=generator)
    right = torch.rand(200_000, generator=generator) < sure
    assert calibration_error(sure, right) < 0.5
    assert calibration_error((sure + 0.1).clamp(max=1), right) > 8


def test_bad_input() -> None:
    assert math.isnan(calibration_error(torch.tensor([math.nan]), torch.tensor([True])))
    for confidence, correct in (([], []), ([1.1], [True]), ([0.5], [True, False])):
        with pytest.raises(ValueError, match="expected confidences"):
            reliability(torch.tensor(confidence), torch.tensor(correct))
