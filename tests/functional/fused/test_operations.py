"""The operations as PyTorch sees them: schemas, shapes, vmap, and what they refuse."""

import pytest
import torch

from functional.fused.cases import KINDS, draw, joint, needs_native, results
from saam.functional.fused import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE
from saam.functional.fused.operations import dense

pytestmark = needs_native


def operators():
    x, weight, _, _ = draw(PIXEL, 2, (2, 4, 5, 5), torch.float32, torch.channels_last)
    scores = torch.randn(2, 4, 5, 5)
    for kind, scorer in ((MEAN | MAX, None), (MEAN | VARIANCE, None), (PIXEL, weight), (SCORES, scores)):
        yield f"squeeze {kind}", "squeeze", (x, scorer, kind, 0.5, True)
    yield "pool", "squeeze", (x, weight, PIXEL, 0.5, False)
    yield "channel", "squeeze", (x, weight[0], CHANNEL, 0.5, True)
    yield "rescale", "rescale", (x, torch.rand(2, 4), None, None, False)
    yield "shift", "rescale", (x, torch.rand(2, 4), None, None, True)
    z, saved, *_ = torch.ops.saam.squeeze(x, weight, PIXEL, 0.5, False)
    yield (
        "squeeze_backward",
        "squeeze_backward",
        (x, weight, z, saved, torch.randn_like(z), x, torch.rand(2, 4), PIXEL, 0.5, True),
    )
    yield "rescale_backward", "rescale_backward", (x, x.clone(), False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "arguments"), [c[1:] for c in operators()], ids=[c[0] for c in operators()])
def test_opcheck(name, arguments):
    if not name.endswith("backward"):
        arguments = tuple(
            a.clone(memory_format=torch.preserve_format).requires_grad_() if isinstance(a, torch.Tensor) else a
            for a in arguments
        )
    torch.library.opcheck(getattr(torch.ops.saam, name).default, arguments)


@pytest.mark.parametrize("name", ["mean+max", "pixel, 2 heads", "channel"])
def test_vmap_of_the_operations(name):
    kind, heads = KINDS[name]
    x, scorer, _, mix = draw(kind, heads, (3, 4, 5, 5), torch.float32, torch.channels_last)
    many = torch.stack((x, 2 * x))
    expected = torch.stack([joint(m, scorer, kind, mix, False) for m in many])
    actual = torch.vmap(lambda m: joint(m, scorer, kind, mix, False))(many)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.randn(2, 4, 5, 5)[:, ::2], None, MEAN, 1.0, False), "contiguous or channels_last"),
        ((torch.randn(2, 4, 5, 5), None, PIXEL, 1.0, False), "scorer is missing"),
        ((torch.randn(2, 4, 5, 5), torch.randn(3, 4), PIXEL, 1.0, False), "divide"),
        ((torch.randn(2, 4, 5, 5), torch.randn(1, 4).double(), PIXEL, 1.0, False), "float32"),
        ((torch.randn(2, 4, 5, 5), torch.randn(1, 3), PIXEL, 1.0, False), "complete"),
    ],
)
def test_the_operation_checks_its_arguments(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        torch.ops.saam.squeeze(*arguments)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("name", ["mean+max", "pixel", "channel", "scores"])
def test_every_other_image(name, layout):
    """Images that are dense, with gaps between them, as a slice of a batch has."""
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (3, 6, 5, 4), torch.float32, layout)
    apart = x.repeat_interleave(2, 0).contiguous(memory_format=layout)
    apart[1::2] = float("nan")
    assert dense(apart[::2]).stride() == x.stride()
    expected, actual = (
        results(joint, x, scorer, dy, mix, kind, False),
        results(joint, apart[::2], scorer, dy, mix, kind, False),
    )
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("axis", [2, 3], ids=["one row", "one column"])
@pytest.mark.parametrize("name", KINDS)
def test_positions_in_a_row_with_their_channels_side_by_side(name, axis):
    """As tokens (B, N, C) have them: they are taken as they are, whatever the stride of the axis of length 1 is."""
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(
        kind, heads, (3, 6, 1, 20) if axis == 2 else (3, 6, 20, 1), torch.float32, torch.contiguous_format
    )
    tokens = x.flatten(2).mT.contiguous().mT.unsqueeze(axis)
    assert dense(tokens) is tokens
    torch.testing.assert_close(
        results(joint, tokens, scorer, dy, mix, kind, False), results(joint, x, scorer, dy, mix, kind, False)
    )
