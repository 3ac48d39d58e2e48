"""The fused operation against eager in float64, in every kind, dtype and layout; its place in autograd and compilers.

A fused result is right when its error is at most twice eager's in the same dtype, gradients included.
"""

import copy
import io
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import saam
from saam.functional import backend, fused, fused_ops
from saam.functional.fused_ops import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE
from saam.nn.squeeze import create_squeeze

pytestmark = pytest.mark.skipif(fused_ops.missing is not None, reason=str(fused_ops.missing))

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
    factor = respond(mix)(fused_ops._eager_squeeze(x, scorer, kind, 1 / temperature)).to(x.dtype)[:, :, None, None]
    return x + factor if adds else x * factor


def joint(x, scorer, kind, mix, adds, temperature=2.0):
    return fused.attend(x, fused.Pooling(kind, scorer, temperature, finish=lambda z: z), respond(mix), adds=adds)


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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_results(name, dtype, layout):
    for shape in SHAPES:
        for adds in (False, True):
            check_accuracy(*KINDS[name], shape, dtype, layout, adds)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_error_is_at_most_twice_that_of_eager(name, dtype, layout):
    for shape in ((8, 64, 20, 21), (2, 16, 56, 60)):
        for key, (error, accepted, largest, _) in errors(*KINDS[name], shape, dtype, layout, False).items():
            assert error <= 2 * accepted + 1e-9 * largest, (key, shape)


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (2, 2048, 7, 7), (40, 4, 32, 32)], ids=str)
@pytest.mark.parametrize("name", ["mean", "max", "mean+std", "pixel", "channel"])
def test_results_on_large_maps(name, shape):
    for layout in (torch.contiguous_format, torch.channels_last):
        check_accuracy(*KINDS[name], shape, torch.float32, layout, False)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    batch=st.integers(1, 5),
    groups=st.integers(1, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    adds=st.booleans(),
)
def test_accuracy_of_any_shape(name, batch, groups, height, width, dtype, layout, adds):
    check_accuracy(*KINDS[name], (batch, 2 * groups, height, width), dtype, layout, adds)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(KINDS)), order=st.permutations(range(4)), step=st.integers(1, 2))
def test_any_strides(name, order, step):
    """Views with any order of axes and with gaps give what their dense copies give."""
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (3, 6, 5, 4), torch.float32, torch.contiguous_format)
    inverse = [order.index(i) for i in range(4)]

    def strided(t):
        padded = torch.full((*[t.shape[i] for i in order[:3]], t.shape[order[3]] * step), float("nan"))
        view = padded[..., ::step]
        view.copy_(t.permute(order))
        return view.permute(inverse)

    expected = results(joint, x, scorer, dy, mix, kind, False)
    actual = results(joint, strided(x), scorer, strided(dy), mix, kind, False)
    for key in expected:
        torch.testing.assert_close(actual[key], expected[key])


@pytest.mark.parametrize("spread", [1e4, 1e-4])
@pytest.mark.parametrize("name", ["pixel", "channel", "scores", "scores, 2 heads"])
def test_extreme_scores(name, spread):
    for shape in SHAPES:
        check_accuracy(*KINDS[name], shape, torch.float32, torch.contiguous_format, False, spread)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", KINDS)
def test_keeps_what_is_not_finite(name, value, layout):
    """NaN and infinity come out where eager has them, wherever in the map they go in."""
    kind, heads = KINDS[name]
    for place in ((0, 1, 0, 0), (1, 3, 44, 60), (1, 5, 20, 30)):
        x, scorer, _, _ = draw(kind, heads, (2, 6, 45, 61), torch.float32, layout)
        x[place] = value
        z = torch.ops.saam.squeeze(x, scorer, kind, 0.5, False)[0]
        torch.testing.assert_close(z, fused_ops._eager_squeeze(x, scorer, kind, 0.5), equal_nan=True)


def test_scores_of_minus_infinity_have_no_weight():
    x = torch.randn(1, 4, 30, 40)
    scores = torch.full((1, 2, 30, 40), -float("inf"))
    scores[0, :, 29, 39] = 0
    torch.testing.assert_close(saam.score_aggregate(x, scores, backend="fused"), x[:, :, 29, 39])
    scores[0, 1] = -float("inf")
    assert saam.score_aggregate(x, scores, backend="fused").isnan().tolist() == [[False, False, True, True]]


def test_tied_maxima_share_the_gradient():
    x = torch.tensor([[[[1.0, 3.0, 3.0], [0.0, 3.0, 2.0]]]], requires_grad=True)
    fused.pool(x, fused.Pooling(MAX)).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[[[0, 1, 1], [0, 1, 0]]]]) / 3)


def test_constant_scores_give_exactly_the_mean():
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    pooled = saam.score_aggregate(x, torch.full((2, 2, 9, 9), 7.5, dtype=torch.float64), backend="fused")
    torch.testing.assert_close(pooled, x.mean((2, 3)), rtol=1e-15, atol=1e-16)


# ---- The place in autograd -------------------------------------------------------------------------------------------


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


class Halved(saam.nn.Mean):
    def forward(self, x):
        return super().forward(x) / 2


class Brightest(saam.ScorePool2d):
    def scores(self, x):
        return 3 * x.amax(1, keepdim=True).float()


@pytest.mark.parametrize("squeeze", [Halved(), Brightest(8)], ids=["forward", "scores"])
def test_subclasses_compute_what_they_say(squeeze):
    module, x = module_and_input(rd_ratio=1)
    module.squeeze = squeeze
    expected = x * module.respond(squeeze(x))[:, :, None, None]
    torch.testing.assert_close(module(x), expected)
    if isinstance(squeeze, saam.ScorePool2d):
        weights = (3 * x.amax(1)).flatten(1).softmax(1)
        torch.testing.assert_close(squeeze(x), torch.einsum("bn,bcn->bc", weights, x.flatten(2)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["saam", "se"])
def test_compiles_without_a_break(name):
    module, x = module_and_input(name)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients_of(module, compiled, x), gradients_of(module, module, x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["saam", "se"])
def test_a_compiled_graph_holds_the_fused_operations(name):
    module, x = module_and_input(name)
    targets = []

    def backend(graph, inputs):
        targets.extend(node.target for node in graph.graph.nodes)
        return graph.forward

    torch.compile(module, fullgraph=True, backend=backend)(x)
    assert {torch.ops.saam.squeeze.default, torch.ops.saam.rescale.default} <= set(targets)


def test_checkpointing():
    module, x = module_and_input()
    again = gradients_of(module, lambda x: checkpoint(module, x, use_reentrant=False), x)
    torch.testing.assert_close(again, gradients_of(module, module, x))


def test_copies():
    module, x = module_and_input()
    module(x)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(module), torch.load(buffer, weights_only=False)):
        torch.testing.assert_close(twin(x), module(x))


def test_autocast():
    module, x = module_and_input()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).dtype == torch.float32
        half = module(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), module(x), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", ["mean+max", "pixel, 2 heads", "channel"])
def test_vmap_of_the_operations(name):
    kind, heads = KINDS[name]
    x, scorer, _, mix = draw(kind, heads, (3, 4, 5, 5), torch.float32, torch.channels_last)
    many = torch.stack((x, 2 * x))
    expected = torch.stack([joint(m, scorer, kind, mix, False) for m in many])
    actual = torch.vmap(lambda m: joint(m, scorer, kind, mix, False))(many)
    torch.testing.assert_close(actual, expected)


def test_transforms_take_eager():
    module, x = module_and_input()
    module, x = module.double(), x.double()
    many = torch.stack((x, 2 * x))
    torch.testing.assert_close(torch.vmap(module)(many), torch.stack([module(m) for m in many]))

    def loss(parameters, x):
        return torch.func.functional_call(module, parameters, x).square().sum()

    parameters = dict(module.named_parameters())
    together = torch.vmap(torch.func.grad(loss), (None, 0))(parameters, many)
    for i, m in enumerate(many):
        expected = torch.autograd.grad(loss(parameters, m), tuple(parameters.values()))
        torch.testing.assert_close([g[i] for g in together.values()], list(expected))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_forward_derivative_takes_eager():
    module, x = module_and_input()
    module, x, step = module.double(), x.double(), 1e-6
    _, slope = torch.func.jvp(module, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(slope, (module(x + step) - module(x - step)) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_export_has_plain_operations_only():
    module, x = module_and_input()
    program = torch.export.export(module, (x,))
    assert "saam" not in str(program.graph_module.code).replace("saam.", "")
    assert not [n for n in program.graph.nodes if "saam" in str(n.target)]
    torch.testing.assert_close(program.module()(x), module(x))


# ---- The choice of the backend ---------------------------------------------------------------------------------------


def count_calls(monkeypatch):
    calls = []
    original = fused._squeeze

    def counted(*args, **kwargs):
        calls.append(args[1].kind)
        return original(*args, **kwargs)

    monkeypatch.setattr(fused, "_squeeze", counted)
    return calls


@pytest.mark.parametrize("squeeze", ["mean", "max", "mean+max", "mean+std", "score"])
def test_modules_take_it(squeeze, monkeypatch):
    calls = count_calls(monkeypatch)
    module, x = module_and_input("se", squeeze=squeeze)
    ours = gradients_of(module, module, x)
    assert len(calls) == 1
    monkeypatch.setattr(fused_ops, "missing", "not here")
    theirs = gradients_of(module, module, x)
    assert len(calls) == 1
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "options", [{"heads": 4}, {"scorer": "channel"}, {"kernel_size": 3}, {"bias": True}, {"temperature": 0.3}], ids=str
)
def test_score_pool_takes_it(options, monkeypatch):
    calls = count_calls(monkeypatch)
    torch.manual_seed(5)
    module, x = saam.ScorePool2d(8, **options).double(), torch.randn(3, 8, 6, 7).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    ours = gradients_of(module, module, x)
    assert len(calls) == 1
    monkeypatch.setattr(fused_ops, "missing", "not here")
    torch.testing.assert_close(ours, gradients_of(module, module, x))


def test_hooks_of_the_squeeze_still_see_it():
    module, x = module_and_input()
    expected, seen = module(x), []
    module.squeeze.register_forward_hook(lambda *args: seen.append(args[2].shape))
    torch.testing.assert_close(module(x), expected)
    assert seen == [(2, 8)]


def test_squeezes_without_a_fused_form_still_work():
    module, x = saam.ChannelAttention(create_squeeze("gem", 8), nn.Identity(), nn.Sigmoid()), torch.rand(2, 8, 4, 4)
    assert module(x).shape == x.shape


def test_asking_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(fused_ops, "missing", "not here")
    x, scores = torch.randn(2, 4, 3, 3), torch.randn(2, 1, 3, 3)
    assert backend.backends()["fused"] == "not here"
    with pytest.raises(RuntimeError, match="'fused' is not available: not here"):
        saam.score_aggregate(x, scores, backend="fused")
    saam.score_aggregate(x, scores, backend="auto")


def test_other_devices_and_dtypes_have_none():
    assert "meta" in fused.unavailable(torch.empty(1, device="meta"))
    assert "float8" in fused.unavailable(torch.empty(1, dtype=torch.float8_e5m2))


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


def test_tensors_on_two_devices():
    with pytest.raises(RuntimeError, match=r"all tensors on cpu, .* got some on meta"):
        saam.SAAM(8, device="meta")(torch.ones(1, 8, 2, 2))
    with pytest.raises(RuntimeError, match=r"all tensors on cpu, .* got some on meta"):
        saam.score_aggregate(torch.ones(1, 8, 2, 2), torch.ones(1, 1, 2, 2, device="meta"), backend="fused")


def test_the_environment_says_what_auto_means():
    code = "import saam, torch; print(saam.functional.backend.choose('auto', torch.ones(1, 1, 1, 1)))"
    for wish in ("eager", "fused"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"SAAM_BACKEND": wish},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == f"{wish}\n"
