"""Which backend computes: what is asked for, what is there, and what surrounds the call."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import saam
from functional.fused.cases import gradients_of, module_and_input, needs_native
from saam.functional import backend, fused
from saam.functional.fused import cpu, joint
from saam.nn.squeeze import create_squeeze


def count_calls(monkeypatch):
    calls = []
    original = joint._squeeze

    def counted(*args, **kwargs):
        calls.append(args[1].kind)
        return original(*args, **kwargs)

    monkeypatch.setattr(joint, "_squeeze", counted)
    return calls


@needs_native
@pytest.mark.parametrize("squeeze", ["mean", "max", "mean+max", "mean+std", "score"])
def test_modules_take_it(squeeze, monkeypatch):
    calls = count_calls(monkeypatch)
    module, x = module_and_input("se", squeeze=squeeze)
    ours = gradients_of(module, module, x)
    assert len(calls) == 1
    with saam.use_backend("eager"):
        theirs = gradients_of(module, module, x)
    assert len(calls) == 1
    torch.testing.assert_close(ours, theirs)


@needs_native
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
    with saam.use_backend("eager"):
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["saam", "se"])
def test_compiles_without_a_break(name):
    module, x = module_and_input(name)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients_of(module, compiled, x), gradients_of(module, module, x))


@needs_native
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


def test_asking_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(cpu, "missing", "not here")
    x, scores = torch.randn(2, 4, 3, 3), torch.randn(2, 1, 3, 3)
    assert backend.backends()["fused"] == "not here"
    with pytest.raises(RuntimeError, match="'fused' is not available: not here, or use 'auto' or 'eager'"):
        saam.score_aggregate(x, scores, backend="fused")
    with pytest.raises(RuntimeError, match="not here"), saam.use_backend("fused"):
        saam.SAAM(4)(x)
    saam.score_aggregate(x, scores, backend="auto")


# ---- "fused" insists -------------------------------------------------------------------------------------------------


def under_vmap(call, x):
    return torch.vmap(call)(x[None])


def under_grad(call, x):
    return torch.func.grad(lambda x: call(x).sum())(x)


def under_jvp(call, x):
    return torch.func.jvp(call, (x,), (x,))


def under_dual_level(call, x):
    with forward_ad.dual_level():
        return call(forward_ad.make_dual(x, x))


def under_export(call, x):
    module = nn.Module()
    module.forward = call
    return torch.export.export(module, (x,))


def under_trace(call, x):
    return torch.jit.trace(call, (x,))


@needs_native
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("surround", "named"),
    [
        (under_vmap, "torch.func"),
        (under_grad, "torch.func"),
        (under_jvp, "torch.func"),
        (under_dual_level, "forward-mode"),
        (under_export, "torch.export"),
        (under_trace, "torch.jit.trace"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fused_raises_where_eager_would_have_to_help(surround, named):
    module, x = module_and_input()
    module.requires_grad_(False)  # or torch.jit.trace takes only modules
    message = f"takes plain calls, got one under .*{named}.*; call it outside, or use 'auto' or 'eager'"
    with pytest.raises(Exception, match=message):
        surround(lambda x: saam.score_aggregate(x, x, backend="fused"), x)
    for call in (module, module.squeeze):
        with pytest.raises(Exception, match=message), saam.use_backend("fused"):
            surround(lambda x, call=call: call(x), x)
        surround(lambda x, call=call: call(x), x)


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scores_dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_fused_computes_under_autocast_and_with_mixed_dtypes(dtype, scores_dtype, monkeypatch):
    calls = count_calls(monkeypatch)
    x, scores = torch.randn(2, 4, 5, 6).to(dtype), torch.randn(2, 2, 5, 6).to(scores_dtype)
    found = []
    for wish in ("fused", "eager"):
        leaves = [t.clone().requires_grad_() for t in (x, scores)]
        with torch.autocast("cpu", torch.bfloat16):
            context = saam.score_aggregate(*leaves, backend=wish)
            gradients = torch.autograd.grad(context.float().square().sum(), leaves)
        found.append([context.detach(), *gradients])
    assert len(calls) == 1
    torch.testing.assert_close(*found)


def test_fused_raises_on_other_devices_and_dtypes():
    x = torch.ones(2, 4, 3, 3)
    with pytest.raises(RuntimeError, match=r"'fused' is not available: .* on cpu and cuda, got a map on meta; move"):
        saam.score_aggregate(x.to("meta"), x.to("meta"), backend="fused")
    with pytest.raises(RuntimeError, match=r"takes torch.float32, .*, got a map of torch.float8_e5m2; convert"):
        saam.score_aggregate(x.to(torch.float8_e5m2), x, backend="fused")
    assert backend.choose("auto", torch.empty(1, dtype=torch.float8_e5m2)) == "eager"


def test_tensors_that_wrap_others_take_eager():
    """Such as a DTensor, whose placement only PyTorch's own operations know."""
    x = torch.randn(2, 8, 4, 4)
    x.__tensor_flatten__ = None
    assert backend.choose("auto", x) == "eager"
    with pytest.raises(RuntimeError, match="takes plain tensors, got a map of type Tensor"):
        backend.choose("fused", x)


@needs_native
def test_a_checkpoint_has_the_backend_of_its_block_in_another_thread_too():
    """As on CUDA, where backward runs in a thread of its own."""
    module, x = module_and_input()
    x.requires_grad_()
    surround = {"context_fn": lambda: (saam.use_backend("eager"), saam.use_backend("eager"))}
    for options in ({}, surround):
        with saam.use_backend("eager"):
            loss = checkpoint(module, x, use_reentrant=False, **options).square().sum()
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(loss.backward).exception()
        assert (error is None) is bool(options)


@needs_native
def test_fused_raises_where_the_squeeze_has_no_fused_form():
    module, x = saam.ChannelAttention(create_squeeze("gem", 8), nn.Identity(), nn.Sigmoid()), torch.rand(2, 8, 4, 4)
    with (
        saam.use_backend("fused"),
        pytest.raises(RuntimeError, match="got GeM, which has none; use another squeeze, or"),
    ):
        module(x)
    module.squeeze = create_squeeze("mean", 8)
    with saam.use_backend("fused"):
        module(x)
        module.squeeze.register_forward_hook(lambda *_: None)
        with pytest.raises(RuntimeError, match="got Mean with hooks; remove them, or use 'auto' or 'eager'"):
            module(x)


def on_cuda(dtype=torch.float32):
    return types.SimpleNamespace(device=torch.device("cuda"), dtype=dtype)


def test_auto_stays_eager_on_cuda(monkeypatch):
    monkeypatch.setattr(backend, "_load_triton", lambda: pytest.fail("nobody asked for it"))
    assert backend.choose("auto", on_cuda()) == "eager"
    assert backend.choose("eager", on_cuda()) == "eager"


def test_fused_on_cuda_is_a_matter_of_triton(monkeypatch):
    monkeypatch.setattr(cpu, "missing", "no CPU operations")
    monkeypatch.setattr(backend, "_load_triton", lambda: None)
    assert backend.choose("fused", on_cuda()) == "fused"
    monkeypatch.setattr(backend, "_load_triton", lambda: "not here")
    with pytest.raises(RuntimeError, match="'fused' is not available: not here"):
        backend.choose("fused", on_cuda())


def test_why_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "saam.functional.fused.triton", raising=False)
    monkeypatch.delattr(fused, "triton", raising=False)
    with pytest.raises(RuntimeError, match="Triton does not import"):
        backend.choose("fused", on_cuda())


# ---- use_backend -----------------------------------------------------------------------------------------------------


def chosen():
    return backend.choose(None, torch.empty(0))


@needs_native
def test_blocks_nest_and_end():
    assert chosen() == "fused"
    with saam.use_backend("eager"):
        assert chosen() == "eager"
        with saam.use_backend("auto"):
            assert chosen() == "fused"
        with pytest.raises(ZeroDivisionError), saam.use_backend("fused"):
            raise ZeroDivisionError
        assert chosen() == "eager"
    assert chosen() == "fused"


@needs_native
def test_it_decorates():
    decorated = saam.use_backend("eager")(chosen)
    assert [decorated(), chosen(), decorated()] == ["eager", "fused", "eager"]


def test_an_unknown_backend_changes_nothing():
    message = r"unknown backend 'fusd': did you mean 'fused'\? known: auto, eager, fused"
    with pytest.raises(ValueError, match=message), saam.use_backend("fusd"):
        pytest.fail("it was entered")
    assert backend._THREAD.backend == "auto"


@needs_native
def test_the_argument_of_a_function_wins(monkeypatch):
    calls = count_calls(monkeypatch)
    x = torch.randn(2, 4, 3, 3)
    for around, wish, count in (("fused", "eager", 0), ("eager", "fused", 1), ("eager", "auto", 2), ("eager", None, 2)):
        with saam.use_backend(around):
            saam.score_aggregate(x, x, backend=wish)
        assert len(calls) == count


@needs_native
def test_other_threads_have_their_own():
    with saam.use_backend("eager"), ThreadPoolExecutor(1) as fresh:
        assert [fresh.submit(chosen).result(), chosen()] == ["fused", "eager"]


def traced(call):
    """The function compiled without a break, and the names of the operations in each of its graphs."""
    graphs = []

    def keep(graph, inputs):
        graphs.append({str(node.target) for node in graph.graph.nodes})
        return graph.forward

    torch.compiler.reset()
    return torch.compile(call, fullgraph=True, backend=keep), graphs


@needs_native
@pytest.mark.filterwarnings("ignore")
def test_compiled_functions_are_traced_again_for_another_backend():
    module, x = module_and_input()
    compiled, graphs = traced(module)
    expected = module(x)

    def take_turns():  # in a thread that has entered no block before
        torch.testing.assert_close(compiled(x), expected)
        for wish in ("eager", "auto", "eager", "fused"):
            with saam.use_backend(wish):
                torch.testing.assert_close(compiled(x), expected)
        assert ["saam.squeeze.default" in graph for graph in graphs] == [True, False, True]

    with ThreadPoolExecutor(1) as fresh:
        fresh.submit(take_turns).result()


@needs_native
@pytest.mark.filterwarnings("ignore")
def test_a_block_inside_of_a_compiled_function():
    module, x = module_and_input()

    def both(x):
        with saam.use_backend("eager"):
            y = module.squeeze(x)
        return y + module.squeeze(x)

    compiled, graphs = traced(both)
    torch.testing.assert_close(compiled(x), both(x))
    (graph,) = graphs
    assert {"saam.squeeze.default"} < graph
    assert [name for name in graph if "softmax" in name]
    assert backend._THREAD.backend == "auto"
