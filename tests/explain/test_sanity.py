import pytest
import torch
from scipy.stats import spearmanr

from saam.explain.sanity import classifier_of, rank_correlation, shuffled
from saam.models import create_model


def test_shuffled_weights_are_the_same_numbers_in_another_order():
    model = create_model("resnet8", attention="saam", width=8, seed=0)
    before = {name: value.clone() for name, value in [*model.named_parameters(), *model.named_buffers()]}
    made = shuffled(model)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    for name, value in made.named_parameters():
        assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
    assert not torch.equal(made.conv1.weight, before["conv1.weight"])
    assert all(torch.equal(value, before[name]) for name, value in made.named_buffers())
    assert torch.equal(made.conv1.weight, shuffled(model).conv1.weight)
    assert not torch.equal(made.conv1.weight, shuffled(model, seed=1).conv1.weight)


def test_a_part_can_be_shuffled_alone():
    model = create_model("resnet8", attention="se", width=8, seed=0)
    part = classifier_of(model, torch.randn(2, 3, 32, 32))
    made = shuffled(model, part=part)
    before = dict(model.named_parameters())
    changed = {name for name, value in made.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {f"{part}.weight", f"{part}.bias"}
    assert made.get_submodule(part).out_features == 10


def test_rank_correlation_is_spearmans():
    first, second = torch.randn(3, 4, 5), torch.randn(3, 4, 5).round()  # with ties
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second).tolist() == pytest.approx(expected)
    assert rank_correlation(first, first.exp()).tolist() == pytest.approx([1, 1, 1])


def test_a_constant_map_agrees_with_nothing():
    assert rank_correlation(torch.ones(1, 2, 2), torch.rand(1, 2, 2)).tolist() == [0]
    with pytest.raises(ValueError, match=r"expected two maps \(B, H, W\), got \(1, 2, 2\) and \(1, 2, 3\)"):
        rank_correlation(torch.ones(1, 2, 2), torch.ones(1, 2, 3))
