"""Whoever looks at a network leaves it, and the random numbers, as they were."""

import weakref

import pytest
import torch
from torch import Tensor, nn

from saam.measure import count_macs
from saam.surgery import attach, sites
from saam.surgery.graph import record
from saam.surgery.probe import at_rest, run


class Drawing(nn.Module):
    """A network that draws in every mode, and remembers in which one its parts ran."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen += [module.training for module in self.modules()] + [torch.is_grad_enabled()]
        x = self.conv(x)
        return x + self.last(self.norm(x + torch.rand_like(x)))


def drawing() -> Drawing:
    model = Drawing().train()
    model.norm.eval()
    return model


MODES = [True, True, False, True]

LOOKS = {
    "sites": lambda model: sites(model),
    "sites, example": lambda model: sites(model, example=torch.ones(1, 3, 8, 8)),
    "attach": lambda model: attach(model, "se", where="conv", example=torch.ones(1, 3, 8, 8)),
    "count": lambda model: count_macs(model, (8, 8)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_random_numbers_modes_and_statistics_stay(look: str) -> None:
    model = drawing()
    modules, mean = list(model.modules()), model.norm.running_mean.clone()
    before = torch.get_rng_state()
    LOOKS[look](model)
    after = torch.get_rng_state()
    if look != "attach":  # the weights of new attention are drawn
        assert torch.equal(before, after)
    assert [module.training for module in modules] == MODES
    assert model.seen
    assert not any(model.seen)
    assert torch.equal(modules[2].running_mean, mean)


def test_inference_mode_hides_nothing() -> None:
    model = drawing()
    expected = sites(model), count_macs(model, (8, 8))
    with torch.inference_mode():
        assert (sites(model), count_macs(model, (8, 8))) == expected
        assert torch.is_inference_mode_enabled()


def test_attaching_draws_for_the_attention_alone() -> None:
    states = []
    for example in (None, torch.ones(1, 3, 8, 8)):
        torch.manual_seed(0)
        model = drawing()
        attach(model, "se", where="conv", example=example)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_an_error_in_the_network_changes_nothing_either() -> None:
    model = drawing()
    before = torch.get_rng_state()

    def torn() -> None:
        torch.rand(3)
        model.conv.train()
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"), at_rest(model):
        torn()
    assert torch.equal(before, torch.get_rng_state())
    assert [module.training for module in model.modules()] == MODES
    assert torch.is_grad_enabled()


def test_a_network_that_runs_on_nothing_is_left_alone() -> None:
    model = drawing()
    model.last = nn.Conv2d(5, 4, 1)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="does not run on images of several sizes"):
        sites(model)
    assert torch.equal(before, torch.get_rng_state())
    assert [module.training for module in model.modules()] == MODES
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_first_of_many_errors_is_told() -> None:
    shapes: list[tuple[int, ...]] = []

    def look(example: Tensor) -> None:
        shapes.append(tuple(example.shape))
        raise RuntimeError(f"attempt {len(shapes)}")

    with pytest.raises(ValueError, match=r"\(RuntimeError: attempt 1\)"):
        run(nn.Sequential(nn.Conv2d(48, 4, 1)), None, look)
    assert {shape[1] for shape in shapes} == {48, 3}
    assert all(side % 32 == 0 for shape in shapes for side in shape[2:])


def test_recording_takes_the_callers_numbers_not_new_ones() -> None:
    """Two looks at one network see the same draws, whatever was drawn before."""
    model, drawn = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5)), []
    model[1].register_forward_hook(lambda *_: drawn.append(torch.rand(1)))
    for _ in range(2):
        record(model, torch.ones(1, 3, 8, 8))
    assert torch.equal(*drawn)


def test_recording_frees_what_the_network_frees() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    made: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    model[0].register_forward_hook(lambda *args: made.append(weakref.ref(args[-1])))
    model[2].register_forward_pre_hook(lambda *_: alive.append(made[0]() is not None))
    sites(model, example=torch.ones(1, 3, 8, 8))
    assert alive == [False]
