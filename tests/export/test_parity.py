"""Parity: differences count, and so does what is not a number."""

import pytest
import torch

from saam.export.graph import Graph
from saam.export.parity import require_parity
from small_networks import SMALL, tiny


@pytest.fixture(scope="module")
def graph():
    return Graph(tiny(), maps=True)


def checked(graph, change, name="logits", **options):
    """Compare a graph with itself, after a change of one output for batches of one."""

    def exported(*inputs):
        outputs = graph(*inputs)
        return {**outputs, name: change(outputs[name])} if len(inputs[0]) == 1 else outputs

    return require_parity(graph, exported, size=SMALL.size, axes={}, **options)


def test_the_largest_difference_is_returned(graph):
    assert checked(graph, lambda x: x) == 0
    assert checked(graph, lambda x: x + 0.5, tolerance=1) == pytest.approx(0.5)


def test_a_difference_is_refused(graph):
    with pytest.raises(ValueError, match=r"differs from PyTorch by 0\.5 in '4', expected 0\.0001 at most"):
        checked(graph, lambda x: x + 0.5, "4")


@pytest.mark.parametrize("tolerance", [1e-4, float("inf")])
@pytest.mark.parametrize(
    "change",
    [lambda x: x * torch.nan, lambda x: x / 0, lambda x: torch.cat([x, x])],
    ids=["nan", "infinity", "shape"],
)
@pytest.mark.parametrize("name", ["logits", "1"])
def test_what_is_no_number_or_has_another_shape_is_refused(graph, change, name, tolerance):
    with pytest.raises(ValueError, match=f"another shape, NaN or infinity in '{name}', where PyTorch gives finite"):
        checked(graph, change, name, tolerance=tolerance)
