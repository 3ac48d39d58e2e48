import torch
from torch import nn

from saam._core.weights import stored


def test_tensors_are_copied_contiguous_and_apart() -> None:
    shared = nn.Parameter(torch.arange(6.0).view(2, 3).T)
    found = stored({"a": shared, "b": shared})
    assert all(value.is_contiguous() and not value.requires_grad for value in found.values())
    assert found["a"].data_ptr() != found["b"].data_ptr() != shared.data_ptr()
    assert torch.equal(found["a"], shared.detach())
