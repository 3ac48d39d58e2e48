"""The derivatives of the fused operations: first and second, wanted and unwanted, alone and in batches."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import saam
from functional.fused.cases import KINDS, draw, eager, gradients_of, joint, module_and_input, needs_native

pytestmark = needs_native


@pytest.mark.parametrize("adds", [False, True], ids=["times", "plus"])
@pytest.mark.parametrize("name", KINDS)
def test_gradients_and_their_gradients(name, adds):
    kind, heads = KINDS[name]
    x, scorer, _, mix = draw(kind, heads, (2, 4, 3, 2), torch.float64, torch.contiguous_format)
    inputs = [t.requires_grad_() for t in (x, mix, scorer) if t is not None]

    def operation(x, mix, scorer=None):
        return joint(x, scorer, kind, mix, adds)

    assert torch.autograd.gradcheck(operation, inputs)
    assert torch.autograd.gradgradcheck(operation, inputs)


@pytest.mark.parametrize("adds", [False, True], ids=["times", "plus"])
@pytest.mark.parametrize("name", KINDS)
def test_first_gradient_is_the_same_where_a_second_is_wanted(name, adds):
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (2, 4, 5, 3), torch.float64, torch.contiguous_format)
    leaves = [t.requires_grad_() for t in (x, mix, scorer) if t is not None]
    y = joint(x, scorer, kind, mix, adds)
    once = torch.autograd.grad(y, leaves, dy, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, dy, create_graph=True), once)


@pytest.mark.parametrize("name", ["mean+std", "pixel, 2 heads", "channel", "scores"])
def test_batches_of_gradients(name):
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (2, 4, 5, 3), torch.float32, torch.channels_last)
    leaves = [t.requires_grad_() for t in (x, mix, scorer) if t is not None]
    y = joint(x, scorer, kind, mix, False)
    many = torch.stack((dy, 2 * dy))
    together = torch.autograd.grad(y, leaves, many, retain_graph=True, is_grads_batched=True)
    alone = [torch.autograd.grad(y, leaves, one, retain_graph=True) for one in many]
    torch.testing.assert_close(list(together), [torch.stack(pair) for pair in zip(*alone, strict=True)])


@pytest.mark.parametrize("frozen", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}], ids=str)
@pytest.mark.parametrize("name", ["mean", "pixel", "channel", "scores"])
def test_only_wanted_gradients(name, frozen):
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (2, 4, 5, 5), torch.float32, torch.contiguous_format)

    def gradients(operation):
        x_, mix_, scorer_ = (
            None if t is None else t.detach().requires_grad_(i not in frozen) for i, t in enumerate((x, mix, scorer))
        )
        y = operation(x_, scorer_, kind, mix_, False)
        if y.requires_grad:
            y.backward(dy)
        return [None if t is None else t.grad for t in (x_, mix_, scorer_)]

    for actual, expected in zip(gradients(joint), gradients(eager), strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            torch.testing.assert_close(actual, expected)


def test_nothing_of_the_maps_size_is_kept_but_the_map():
    x = torch.randn(2, 8, 32, 32, requires_grad=True)
    kept = []

    def keep(t):
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        saam.SAAM(8)(x)
    large = {t.data_ptr() for t in kept if t.untyped_storage().nbytes() >= x.untyped_storage().nbytes() // 8}
    assert large == {x.data_ptr()}


def test_checkpointing():
    module, x = module_and_input()
    again = gradients_of(module, lambda x: checkpoint(module, x, use_reentrant=False), x)
    torch.testing.assert_close(again, gradients_of(module, module, x))


@pytest.mark.parametrize(
    "pool",
    [
        lambda: saam.ScorePool2d(4, kernel_size=3),
        lambda: saam.ScorePool2d(4, scorer=torch.nn.Conv2d(4, 2, 1)),
        lambda: saam.nn.create_squeeze("softpool", 4),
    ],
    ids=["kernel_size=3", "own scorer", "softpool"],
)
def test_second_gradients_where_the_scores_depend_on_the_map(pool):
    torch.manual_seed(0)
    attention = saam.create_attention("se", 4, squeeze=pool(), rd_ratio=1).double()  # some of its ReLUs are on
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64, requires_grad=True)
    once = torch.autograd.grad(attention(x).square().sum(), x)[0]
    again = torch.autograd.grad(attention(x).square().sum(), x, create_graph=True)[0]
    torch.testing.assert_close(again, once)
    assert torch.autograd.gradgradcheck(attention, x)


def test_an_empty_batch_in_channels_last_has_gradients():
    x = torch.randn(0, 8, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    saam.SAAM(8)(x).sum().backward()
    assert x.grad.shape == x.shape
