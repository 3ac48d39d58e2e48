import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from saam.training import Scores, evaluate, score_images


def test_scores_by_hand_over_unequal_batches():
    """Two of three are right, with confidences .88, .73 (wrong) and .62, each alone in its bin."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]]).log_softmax(1)
    labels = torch.tensor([0, 0, 0])
    batches = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
    sure = logits.exp().amax(1)
    assert evaluate(nn.Identity(), batches) == Scores(
        accuracy=pytest.approx(200 / 3),
        loss=pytest.approx(-logits[:, 0].mean().item()),
        count=3,
        top5=100.0,
        calibration=pytest.approx(100 / 3 * (1 - sure[0] + sure[1] + 1 - sure[2]).item(), abs=1e-4),
    )
    each = score_images(nn.Identity(), batches)
    assert each.correct.tolist() == [True, False, True]
    assert each.predicted.tolist() == [0, 1, 0]
    assert each.rank.tolist() == [0, 1, 0]
    torch.testing.assert_close(each.confidence, sure)


def test_the_label_among_the_five_highest():
    logits = torch.arange(7.0).flip(0).expand(3, 7)
    assert evaluate(nn.Identity(), [(logits, torch.tensor([0, 4, 5]))]).top5 == pytest.approx(200 / 3)


def test_scores_of_a_network_that_has_diverged_are_nan():
    scores = evaluate(nn.Identity(), [(torch.full((2, 3), math.nan), torch.tensor([0, 1]))])
    assert math.isnan(scores.loss)
    assert math.isnan(scores.calibration)


def test_modes_gradients_and_generator_are_left_alone():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    model[2].eval()
    seen = []
    model.register_forward_hook(lambda *_: seen.append((model.training, torch.is_inference_mode_enabled())))
    data = TensorDataset(torch.randn(10, 6, generator=generator), torch.randint(3, (10,), generator=generator))
    before, state = [module.training for module in model.modules()], torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert evaluate(model, DataLoader(data, batch_size=4, shuffle=True)).count == 10
    assert seen == [(False, True)] * 3
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_mode_is_restored_after_an_error():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate(model, [(torch.randn(2, 4), torch.tensor([0, 1]))])
    assert all(module.training for module in model.modules())


def test_a_loader_by_epoch_is_asked_for_the_first():
    class ByEpoch:
        def __len__(self):
            return 1

        def __iter__(self):
            raise AssertionError("epoch() comes first")

        def epoch(self, index):
            yield torch.eye(3)[[index, 1, 2]], torch.tensor([0, 1, 2])

    assert evaluate(nn.Identity(), ByEpoch()).accuracy == 100


def test_nothing_to_score():
    with pytest.raises(ValueError, match="expected images to score, got none"):
        evaluate(nn.Identity(), [])
