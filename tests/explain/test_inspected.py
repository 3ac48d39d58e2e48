"""Hooks see what runs, although the network is compiled, called by keyword, or inspected in threads."""

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

import saam
from saam.explain import explain, gate_factors, gate_use, observe, score_maps, score_use
from saam.explain.attribution import last_map
from saam.explain.inspected import inspected
from saam.explain.sanity import classifier_of
from saam.models import Preprocessing

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SHIFTED = X + 1  # its means differ from zero, so the gates depend on them


def network():
    return saam.create_model("resnet8", attention="saam", width=8, num_classes=3, seed=0).eval()


def whole(model):
    return torch.compile(model, backend="eager")


def in_place(model):
    model.compile(backend="eager")
    return model


def one_layer(model):
    model.layer1.compile(backend="eager")
    return model


@pytest.mark.parametrize("compiled", [whole, in_place, one_layer])
def test_a_compiled_network_that_has_run_is_seen_like_any_other(compiled):
    model = network()
    fast = compiled(copy.deepcopy(model))
    expected, maps = gate_factors(model, X), score_maps(model, X)
    with torch.no_grad():
        fast(X)

    def plain(found):
        return {site.removeprefix("_orig_mod."): value for site, value in found.items()}

    torch.testing.assert_close(plain(gate_factors(fast, X)), expected)
    torch.testing.assert_close(plain(score_maps(fast, X)), maps)
    assert len(gate_use(fast, X)) == len(score_use(fast, X)) == 3
    assert {name: len(found) for name, found in observe(fast, X).items()} == {"gate_use": 3, "score_use": 3}
    assert last_map(fast, X) is getattr(fast, "_orig_mod", fast).layer3
    assert classifier_of(fast, X).removeprefix("_orig_mod.") == "fc"
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    prepare = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3, ("a", "b", "c"))
    found = explain(fast, images, preprocessing=prepare)
    assert len(found.scores) == len(found.gates) == 3
    torch.testing.assert_close(found.attributions, explain(model, images, preprocessing=prepare).attributions)


def test_compiled_code_runs_again_afterwards_although_threads_overlapped():
    runs = []

    def backend(graph, inputs):
        return lambda *args: runs.append(1) or graph(*args)

    fast = torch.compile(nn.Linear(3, 2).eval(), backend=backend)
    x, barrier = X[:, :, 0, 0], Barrier(2)

    def overlapping(_):
        barrier.wait()
        for _ in range(50):
            with inspected(fast):
                fast(x)

    with torch.no_grad():
        fast(x)
        assert runs == [1]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(overlapping, range(2)))
        assert runs == [1]
        fast(x)
    assert runs == [1, 1]


class Calls(nn.Module):
    """Calls its attention by keyword, twice, or never."""

    def __init__(self, how):
        super().__init__()
        self.attention, self.how = saam.create_attention("eca" if how == "twice" else "saam", 3), how

    def forward(self, x):
        if self.how == "keyword":
            return self.attention(x=x)
        return self.attention(self.attention(2 * x)) if self.how == "twice" else x


def test_attention_that_is_called_by_keyword_is_seen():
    model = Calls("keyword")
    torch.testing.assert_close(gate_factors(model, X)["attention"], gate_factors(model.attention, X)["model"])
    torch.testing.assert_close(score_maps(model, X), score_maps(model.attention, X))


def test_the_last_call_counts():
    model = Calls("twice").eval()
    with torch.no_grad():
        inner = model.attention(2 * SHIFTED)
    expected = gate_factors(model.attention, inner)["model"]
    torch.testing.assert_close(gate_factors(model, SHIFTED)["attention"], expected)
    assert not expected.allclose(gate_factors(model.attention, 2 * SHIFTED)["model"])


@pytest.mark.parametrize(("measure", "what"), [(gate_use, "its attention"), (score_use, "its score squeezes")])
def test_attention_that_is_never_called_is_refused(measure, what):
    with pytest.raises(ValueError, match=f"expected Calls to call {what}, but none of 1 was called"):
        measure(Calls("never"), X)
