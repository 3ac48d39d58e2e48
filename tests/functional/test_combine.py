"""Rescale and shift against broadcasting written out."""

import pytest
import torch

import saam
from saam.functional import shift


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_channel_gets_its_own_value(layout):
    x = torch.randn(2, 3, 4, 5).to(memory_format=layout)
    values = torch.randn(2, 3)
    scaled, shifted = saam.rescale(x, values), shift(x, values)
    for image in range(2):
        for channel in range(3):
            torch.testing.assert_close(scaled[image, channel], x[image, channel] * values[image, channel].item())
            torch.testing.assert_close(shifted[image, channel], x[image, channel] + values[image, channel].item())
    assert scaled.is_contiguous(memory_format=layout)


def test_keeps_the_dtype_of_the_map():
    x = torch.randn(2, 3, 4, 5, dtype=torch.bfloat16)
    assert saam.rescale(x, torch.rand(2, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("operation", [saam.rescale, shift])
def test_bad_input(operation):
    with pytest.raises(ValueError, match=r"\(B, C\) = \(2, 3\), got \(3, 2\)"):
        operation(torch.ones(2, 3, 4, 5), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(2, 3\)"):
        operation(torch.ones(2, 3), torch.ones(2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of torch itself
@pytest.mark.parametrize("combine", [saam.rescale, saam.functional.shift])
def test_forward_mode_works_in_half_types_too(combine):
    x, value, dx, dvalue = (torch.randn(size) for size in ((2, 3, 4, 5), (2, 3), (2, 3, 4, 5), (2, 3)))
    full = torch.func.jvp(combine, (x, value), (dx, dvalue))[1]
    half = torch.func.jvp(combine, *((tuple(t.bfloat16() for t in pair)) for pair in ((x, value), (dx, dvalue))))[1]
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.1)
    only = torch.func.jvp(lambda v: combine(x.bfloat16(), v), (value.bfloat16(),), (dvalue.bfloat16(),))[1]
    assert only.shape == x.shape


@pytest.mark.parametrize("combine", [saam.rescale, saam.functional.shift])
def test_gradients_of_large_half_maps_are_summed_in_float32_under_transforms_too(combine):
    x, value = 100 + torch.rand(2, 3, 30, 30).half(), torch.rand(2, 3)

    def loss(value, x):
        return combine(x, value).float().square().sum()

    expected = torch.func.grad(loss)(value, x.float())
    assert expected.max() > torch.finfo(torch.half).max
    plain = torch.autograd.grad(loss(leaf := value.clone().requires_grad_(), x), leaf)[0]
    for found in (
        plain,
        torch.func.grad(loss)(value, x),
        torch.vmap(torch.func.grad(loss))(value[:, None], x[:, None]),
    ):
        torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=0.01, atol=0)
