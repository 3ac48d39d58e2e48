"""The cases that the tests of the fused operations share: kinds, maps, and errors against eager in float64.

A fused result is right when its error is at most twice eager's in the same dtype, gradients included.
"""

import pytest
import torch
from torch import nn

import saam
from saam.functional.fused import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE, Pooling, attend, cpu
from saam.functional.fused.autograd import eager_squeeze

needs_native = pytest.mark.skipif(cpu.missing is not None, reason=str(cpu.missing))
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
KINDS = {
    "mean": (MEAN, 0),
    "max": (MAX, 0),
    "mean+max": (MEAN | MAX, 0),
    "mean+std": (MEAN | VARIANCE, 0),
    "pixel": (PIXEL, 1),
    "pixel, 2 heads": (PIXEL, 2),
    "pixel, C heads": (PIXEL, -1),
    "channel": (CHANNEL, 0),
    "scores": (SCORES, 1),
    "scores, 2 heads": (SCORES, 2),
    "scores, C heads": (SCORES, -1),
}
SHAPES = [(2, 6, 5, 7), (3, 34, 8, 8), (2, 16, 1, 1), (1, 2, 33, 40), (1, 130, 3, 3)]


def draw(kind, heads, shape, dtype, layout, spread=1.0):
    """A map, its scorer, the gradient of y and the weight that takes the statistics to a factor."""
    random = torch.Generator().manual_seed(hash((kind, heads, *shape)) % 2**31)
    batch, channels, height, width = shape
    heads = channels if heads < 0 else heads
    x, dy = (torch.randn(shape, generator=random).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    wide = torch.promote_types(dtype, torch.float32)
    scorer = {
        PIXEL: lambda: torch.randn(heads, channels, generator=random) / channels**0.5,
        CHANNEL: lambda: torch.randn(channels, generator=random),
        SCORES: lambda: torch.randn(batch, heads, height, width, generator=random),
    }.get(kind, lambda: None)()
    scorer = None if scorer is None else (scorer * spread).to(wide)
    rows = kind.bit_count() * channels
    mix = torch.randn(channels, rows, generator=random).to(wide) / rows**0.5
    return x, scorer, dy, mix


def respond(mix):
    return lambda z: (z.flatten(1).to(mix.dtype) @ mix.mT).sigmoid()


def eager(x, scorer, kind, mix, adds, temperature=2.0):
    factor = respond(mix)(eager_squeeze(x, scorer, kind, 1 / temperature)).to(x.dtype)[:, :, None, None]
    return x + factor if adds else x * factor


def joint(x, scorer, kind, mix, adds, temperature=2.0):
    return attend(x, Pooling(kind, scorer, temperature, finish=lambda z: z), respond(mix), adds=adds)


def results(operation, x, scorer, dy, mix, kind, adds):
    leaves = [t.detach().requires_grad_() for t in (x, mix, scorer) if t is not None]
    y = operation(leaves[0], leaves[2] if scorer is not None else None, kind, leaves[1], adds)
    return {"y": y.detach(), **dict(zip(("dx", "dmix", "dscorer"), torch.autograd.grad(y, leaves, dy), strict=False))}


def errors(kind, heads, shape, dtype, layout, adds, spread=1.0):
    """What is computed -> (error of ours, error of eager, largest value, rounding unit), root mean squares."""
    x, scorer, dy, mix = draw(kind, heads, shape, dtype, layout, spread)
    exact = results(
        eager, x.double(), None if scorer is None else scorer.double(), dy.double(), mix.double(), kind, adds
    )
    plain = results(eager, x, scorer, dy, mix, kind, adds)
    ours = results(joint, x, scorer, dy, mix, kind, adds)
    assert ours["y"].dtype == dtype
    assert ours["y"].stride() == x.stride()
    return {
        name: (
            *((v[name].double() - exact[name]).square().mean().sqrt().item() for v in (ours, plain)),
            exact[name].abs().max().item(),
            torch.finfo(value.dtype).eps,
        )
        for name, value in ours.items()
    }


def check_accuracy(*case):
    """On a small map an error is a matter of luck: half a unit of the largest sum is forgiven."""
    for name, (error, accepted, largest, unit) in errors(*case).items():
        pixels = case[2][2] * case[2][3]
        assert error <= 2 * accepted + unit * max(largest, 1e-3) * (1 + pixels**0.5 / 2), name


def module_and_input(name="saam", **options):
    torch.manual_seed(3)
    module = saam.create_attention(name, 8, **options)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module, torch.randn(2, 8, 6, 5)


def gradients_of(module, run, x):
    module.zero_grad()
    x = x.detach().requires_grad_()
    y = run(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *[p.grad.clone() for p in module.parameters()]]
