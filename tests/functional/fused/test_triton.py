"""The Triton operations without a GPU: interpreted, they compute what the CPU operations compute; and they compile.

Triton reads TRITON_INTERPRET when kernels are defined, its own included, so the checks run in processes of their own:
each test starts a pytest that collects the functions `check_...` of this file. There the interpreted kernels take the
place of the CPU's, and the tests beside this one run on them.
"""

import importlib.util
import os
import subprocess
import sys
import types
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import saam
from functional.fused import cases, test_autograd, test_joint, test_operations
from reference import score_aggregate as literal
from saam.functional import backend
from saam.functional.fused import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE, Pooling, attend, cpu, pool
from saam.functional.fused.autograd import eager_squeeze
from saam.functional.fused.operations import SCHEMAS

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
SCORERS = {MEAN | MAX: None, MEAN | VARIANCE: None, PIXEL: (2, 34), CHANNEL: (34,), SCORES: (2, 2, 9, 40)}


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize(
    ("checks", "chosen", "interpreted"),
    [
        ("check_results", "nchw and float32", True),
        ("check_results", "nhwc and float32", True),
        ("check_results", "nchw and not float32", True),
        ("check_results", "nhwc and not float32", True),
        ("check_corner", "", True),
        ("check_operator", "", True),
        ("check_compiles", "80", False),
        ("check_compiles", "90", False),
        ("check_compiles", "hip", False),
        ("check_cuda", "", False),
    ],
)
def test_in_a_process_of_its_own(checks, chosen, interpreted, tmp_path):
    settings = {
        "TRITON_INTERPRET": str(int(interpreted)),
        "TRITON_CACHE_DIR": str(tmp_path),
        "TRITON_DEFAULT_FP_FUSION": "1",  # Triton 3.9 warns that this default will change
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-k", chosen]
    child = subprocess.run(
        [*command, "-o", f"python_functions={checks}*", __file__],
        env=inherited | settings,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert child.returncode == 0, child.stdout[-8000:] + child.stderr[-2000:]
    assert " passed" in child.stdout
    assert "skipped" not in child.stdout


# ---- Interpreted -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def triton_calls():
    """Let the interpreted operations compute on the CPU; return the names of those that were called."""
    calls = []

    def counted(name, operation):
        def call(*args):
            calls.append(name)
            return operation(*args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.library, "wrap_triton", lambda kernel: kernel)  # older ones take no interpreted kernels
        patch.setattr(cpu, "missing", None)
        from saam.functional.fused import triton

        library = torch.library.Library("saam", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it overrides saam-native
            for name in triton.__all__:
                library.impl(name, counted(name, getattr(triton, name)), "CPU")
        yield calls


@LAYOUTS
@pytest.mark.parametrize("dtype", cases.DTYPES, ids=str)
@pytest.mark.parametrize("name", cases.KINDS)
def check_results(triton_calls, name, dtype, layout):
    kind, heads = cases.KINDS[name]
    shapes = [(2, 6, 5, 7), (1, 2, 17, 19), (2, 4, 1, 1)]
    if dtype == torch.float32:
        shapes += [(1, 2, 33, 40)] if heads < 0 else [(1, 2, 33, 40), (1, 34, 9, 8)]
    triton_calls.clear()
    for i, shape in enumerate(shapes):
        cases.check_accuracy(kind, heads, shape, dtype, layout, i % 2 == 1)
    assert set(triton_calls) == {"squeeze", "squeeze_backward", "rescale", "rescale_backward"}


def check_corner_other_layouts_are_refused(triton_calls):
    x, factor = torch.randn(2, 4, 5, 6), torch.randn(2, 4)
    interleaved = x.contiguous(memory_format=torch.channels_last)
    z, saved, *_ = torch.ops.saam.squeeze(x, None, MEAN, 1.0, False)
    for call in (
        lambda: torch.ops.saam.squeeze(x[:, ::2], None, MEAN, 1.0, False),
        lambda: torch.ops.saam.rescale(x.mT, factor, None, None, False),
        lambda: torch.ops.saam.rescale_backward(interleaved, x, False),
        lambda: torch.ops.saam.squeeze_backward(x, None, z, saved, z, interleaved, factor, MEAN, 1.0, True),
    ):
        with pytest.raises(ValueError, match="contiguous or channels_last"):
            call()


@LAYOUTS
def check_corner_sums_of_the_gradient_of_a_weight_in_parts(triton_calls, layout, monkeypatch):
    from saam.functional.fused import triton

    monkeypatch.setattr(triton, "_PROGRAMS", 4)
    cases.check_accuracy(PIXEL, 2, (3, 4, 9, 40), torch.float32, layout, False)


@pytest.mark.parametrize("spread", [1e4, 1e-4])
@pytest.mark.parametrize("name", ["pixel", "channel", "scores, 2 heads"])
def check_corner_extreme_scores(triton_calls, name, spread):
    for shape in ((2, 6, 5, 7), (1, 2, 33, 40)):
        cases.check_accuracy(*cases.KINDS[name], shape, torch.float32, torch.contiguous_format, False, spread)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, which interprets
@LAYOUTS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [name for name in cases.KINDS if "C heads" not in name])
def check_corner_keeps_what_is_not_finite(triton_calls, name, value, layout):
    kind, heads = cases.KINDS[name]
    for place in ((0, 1, 0, 0), (0, 3, 12, 39)):
        x, scorer, _, _ = cases.draw(kind, heads, (1, 6, 13, 40), torch.float32, layout)
        x[place] = value
        z = torch.ops.saam.squeeze(x, scorer, kind, 0.5, False)[0]
        torch.testing.assert_close(z, eager_squeeze(x, scorer, kind, 0.5), equal_nan=True)


@pytest.mark.parametrize(
    "shared_test",
    [
        test_joint.test_scores_of_minus_infinity_have_no_weight,
        test_joint.test_tied_maxima_share_the_gradient,
        test_joint.test_constant_scores_give_exactly_the_mean,
        test_autograd.test_nothing_of_the_maps_size_is_kept_but_the_map,
        test_autograd.test_checkpointing,
    ],
)
def check_corner_of_the_cpu_tests(triton_calls, shared_test):
    triton_calls.clear()
    shared_test()
    assert "squeeze" in triton_calls


def check_corner_tied_maxima_in_several_tiles(triton_calls):
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.zeros(1, 3, 20, 40).contiguous(memory_format=layout)
        x[0, :, ::7, ::3] = 5
        x[0, 1, 19, 39] = 6
        grads = []
        for operation in (lambda x: pool(x, Pooling(MAX)), lambda x: x.amax((2, 3))):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            operation(leaf).sum().backward()
            grads.append(leaf.grad)
        torch.testing.assert_close(*grads)


@LAYOUTS
def check_corner_scores_of_minus_infinity_have_no_gradient(triton_calls, layout):
    x = torch.randn(1, 4, 20, 40).contiguous(memory_format=layout)
    scores = torch.randn(1, 2, 20, 40)
    scores[0, 0, :10] = scores[0, 1, 3:, 5:] = -float("inf")
    grads = []
    for choice in ("fused", "eager"):
        leaves = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, scores)]
        saam.score_aggregate(*leaves, backend=choice).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(*grads)
    assert grads[0][1][scores == -float("inf")].eq(0).all()


@pytest.mark.parametrize("heads", [1, 2, 4])
def check_corner_temperature_and_heads_against_the_literal_reference(triton_calls, heads):
    x, scores = torch.randn(2, 4, 3, 5, dtype=torch.float64), torch.randn(2, heads, 3, 5, dtype=torch.float64)
    pooled = saam.score_aggregate(x, scores, temperature=0.3, backend="fused")
    expected = torch.tensor(literal(x.tolist(), scores.tolist(), 0.3), dtype=torch.float64)
    torch.testing.assert_close(pooled, expected, rtol=1e-13, atol=1e-13)


@LAYOUTS
@pytest.mark.parametrize(("kind", "scorer"), [(PIXEL, (2, 4)), (CHANNEL, (4,)), (SCORES, (1, 2, 5, 60))], ids=str)
def check_corner_a_pixel_of_weight_one_has_no_score_gradient(triton_calls, kind, scorer, layout):
    x = (torch.rand(1, 4, 5, 60) + 1).contiguous(memory_format=layout)
    scorer = torch.full(scorer, 1e3) if kind != SCORES else torch.randn(scorer)
    x[0, :, 3, 7] = torch.tensor([3.3, 5.7, 4.1, 7.9])
    if kind == SCORES:
        scorer[..., 3, 7] = 1e3
    scorer.requires_grad_()
    pool(x, Pooling(kind, scorer)).sum().backward()
    assert scorer.grad.eq(0).all()


@pytest.mark.parametrize(
    ("name", "frozen"), [("pixel", {0}), ("pixel", {2}), ("scores", {0}), ("channel", {0}), ("mean", {0})], ids=str
)
def check_corner_only_wanted_gradients(triton_calls, name, frozen):
    test_autograd.test_only_wanted_gradients(name, frozen)


@pytest.mark.parametrize(("kind", "scorer"), [(MEAN | MAX, None), (PIXEL, (2, 4)), (CHANNEL, (4,))], ids=str)
def check_corner_no_images(triton_calls, kind, scorer):
    x = torch.empty(0, 4, 3, 3, requires_grad=True)
    scorer = None if scorer is None else torch.randn(scorer, requires_grad=True)
    y = attend(x, Pooling(kind, scorer, finish=lambda z: z), lambda z: z[:, 0])
    y.sum().backward()
    assert x.grad.shape == y.shape == x.shape
    assert scorer is None or scorer.grad.eq(0).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "arguments"), [c[1:] for c in test_operations.operators()], ids=[c[0] for c in test_operations.operators()]
)
def check_operator(triton_calls, name, arguments):
    torch.library.opcheck(getattr(torch.ops.saam, f"triton_{name}").default, arguments, test_utils="test_schema")
    triton_calls.clear()
    test_operations.test_opcheck(name, arguments)
    assert name in triton_calls


# ---- Compiled for GPUs that need not be there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "dtype", "layout"),
    [
        (("cuda", 80, 32), torch.float32, torch.contiguous_format),
        (("cuda", 80, 32), torch.float64, torch.channels_last),
        (("cuda", 90, 32), torch.bfloat16, torch.contiguous_format),
        (("cuda", 90, 32), torch.float16, torch.channels_last),
        (("hip", "gfx942", 64), torch.bfloat16, torch.contiguous_format),
    ],
    ids=str,
)
def check_compiles(target, dtype, layout, monkeypatch):
    """The calls that the operations make are compiled to machine code and not run; blocks have 64-bit offsets."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from saam.functional.fused import triton  # noqa: F401

    absent = types.SimpleNamespace(
        get_current_target=lambda: GPUTarget(*target),
        get_current_device=lambda: target[1],  # what is compiled is remembered by device
        get_current_stream=lambda device: 0,
    )
    driver.set_active(absent)
    compiled, run = {}, JITFunction.run

    def compile_only(kernel, *args, warmup, **options):
        result = run(kernel, *args, warmup=True, **options)
        assert result.metadata.target == GPUTarget(*target)
        compiled[kernel.fn.__name__, result.hash] = result.asm

    monkeypatch.setattr(JITFunction, "run", compile_only)
    wide = torch.promote_types(dtype, torch.float32)
    for batch, channels, height, width in ((2, 34, 9, 40), (1, 1, 1, 1)):
        x = torch.empty(batch, channels, height, width, dtype=dtype).contiguous(memory_format=layout)
        factor = torch.empty(batch, channels, dtype=wide)
        for kind, shape in SCORERS.items() if channels > 1 else [(PIXEL, (1, 1))]:
            scorer = None if shape is None else torch.empty(shape, dtype=wide)
            z, saved, *_ = torch.ops.saam.triton_squeeze(x, scorer, kind, 0.5, True)
            torch.ops.saam.triton_squeeze_backward(x, scorer, z, saved, z, x, factor, kind, 0.5, True)
        torch.ops.saam.triton_rescale(x, factor, None, None, False)
        torch.ops.saam.triton_rescale_backward(x, x, False)
    kernels = {
        "_pool_channels",
        "_pool_pixels",
        "_rescale",
        "_weigh_pixels",
        "_write_gradient",
        "_write_dweight",
        "_sum",
    }
    assert {name for name, _ in compiled} == kernels
    for asm in compiled.values():
        assert asm["cubin" if target[0] == "cuda" else "hsaco"]
        addresses = [line for line in asm["ttir"].splitlines() if "tt.addptr" in line and "tensor<" in line]
        assert not [line for line in addresses if "xi32" in line]


def check_cuda_has_the_operations_when_they_are_asked_for():
    """It comes before the checks that import them."""

    def registered():
        return [torch._C._dispatch_has_kernel_for_dispatch_key(f"saam::{n}", "CUDA") for n in SCHEMAS]

    with FakeTensorMode():
        x, scores = torch.empty(2, 4, 3, 3, device="cuda"), torch.empty(2, 1, 3, 3, device="cuda")
        saam.score_aggregate(x, scores)
        saam.SAAM(4, device="cuda")(x)
        assert not any(registered())
        assert saam.score_aggregate(x, scores, backend="fused").shape == (2, 4)
        assert all(registered())


def check_cuda_fakes_are_those_of_the_operations():
    """What the Triton operations allocate, seen on fake CUDA tensors, is what the fakes say that they return."""
    from saam.functional.fused import triton  # noqa: F401

    def seen(results):
        results = results if isinstance(results, tuple) else (results,)
        return [(t.shape, t.stride(), t.dtype, t.device.type) for t in results]

    with FakeTensorMode():
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.empty(2, 34, 9, 40, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=layout)
            factor = torch.empty(2, 34, device="cuda")
            calls = [("rescale", (x, factor, None, None, True)), ("rescale_backward", (x, x, True))]
            for kind, shape in SCORERS.items():
                scorer = None if shape is None else torch.empty(shape, device="cuda")
                calls += [("squeeze", (x, scorer, kind, 0.5, joint)) for joint in (False, True)]
                z, saved, *_ = torch.ops.saam.squeeze(*calls[-1][1])
                for rest in ((x, factor, kind, 0.5, True), (None, None, kind, 0.5, False)):
                    calls.append(("squeeze_backward", (x, scorer, z, saved, z, *rest)))
            for name, arguments in calls:
                ours = seen(getattr(torch.ops.saam, f"triton_{name}")(*arguments))
                assert ours == seen(getattr(torch.ops.saam, name)(*arguments)), name


def check_cuda_operations_are_chosen_without_a_break_in_the_graph():
    @torch.compile(fullgraph=True, backend="eager")
    def is_available(x):
        return x + (1 if backend._load_triton() is None else 0)

    assert is_available(torch.zeros(1)) == 1
