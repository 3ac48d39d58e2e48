"""What every registered attention keeps to. A new one adds its formula to ``parameters.py`` and nothing here."""

import copy
import importlib
import inspect
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import saam
from parameters import FORMULAS
from saam.nn import ScorePool2d, attention_record, create_attention, list_attentions

CHANNELS = 64
SIZE = (9, 7)

every = pytest.mark.parametrize("name", list_attentions())


def options_of(name):
    build = attention_record(name).build
    return {key for key, value in inspect.signature(build).parameters.items() if value.kind is value.KEYWORD_ONLY}


def place(name, size=SIZE):
    """Return the options by which a module learns where it stands, if it asks for them."""
    return attention_record(name).options_at(size=size, stage=2)


def create(name, channels=CHANNELS, size=SIZE, **options):
    return create_attention(name, channels, **place(name, size), **options)


def randomise(module):
    """Draw all parameters and running statistics: what starts at zero, or as the identity, hides mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
        for norm in norms(module):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module


def norms(module):
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def built(name, channels=CHANNELS, size=SIZE, **options):
    return randomise(create(name, channels, size, **options))


def draw(batch=3, channels=CHANNELS, size=SIZE, **options):
    return torch.randn(batch, channels, *size, **options)


def gradients(module, x, scale=1.0):
    """Return the output and the gradients of x and of all parameters, for an incoming gradient of this scale."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(x)
    upstream = scale * torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)
    return y, torch.autograd.grad(y, [x, *module.parameters()], upstream)


def attempt(call):
    """Return the result and no error, or no result and the text of the ValueError."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


@every
@pytest.mark.parametrize(
    "shape",
    [
        (2, 64, 9, 7),
        (1, 64, 8, 8),
        (1, 64, 1, 1),
        (2, 64, 2, 2),
        (2, 64, 1, 5),
        (2, 18, 8, 9),
        (2, 3, 7, 8),
        (1, 1, 7, 7),
    ],
    ids=str,
)
def test_shape(name, shape):
    batch, channels, *size = shape
    x = torch.randn(shape)
    y, refusal = attempt(lambda: built(name, channels, tuple(size)).eval()(x))
    if refusal:
        # A module may refuse a shape if its notes say so, and names what it cannot take.
        assert re.search("must be|refused", attention_record(name).notes)
        assert any(str(number) in refusal for number in shape[1:])
        assert shape[1:] != (CHANNELS, *SIZE)
        return
    module = built(name, channels, tuple(size)).train()
    trained, refusal = attempt(lambda: module(x))
    if refusal:
        # A batch norm cannot train on a single value.
        assert norms(module)
        assert batch == 1
        assert re.search("norms over the batch|more than 1 value per channel", refusal)
        trained = y
    for output in (y, trained):
        assert output.shape == x.shape
        assert output.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtype(name, dtype):
    module, x = built(name).eval(), draw()
    exact = copy.deepcopy(module).double()(x.to(dtype).double())
    y = module.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    error = (y.double() - exact).abs().max() / exact.abs().max()
    assert error < 16 * torch.finfo(dtype).eps


@every
def test_layout(name):
    module, x = built(name), draw()
    expected, expected_gradients = gradients(module, x)
    for layout in (torch.contiguous_format, torch.channels_last):
        y, found = gradients(module, x.to(memory_format=layout))
        assert y.is_contiguous(memory_format=layout)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(found, expected_gradients, rtol=1e-3, atol=1e-4)


@every
def test_training_mode_matters_to_norms_alone(name):
    module, x = built(name), draw()
    before = copy.deepcopy(module.state_dict())
    evaluated = module.eval()(x)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    trained = module.train()(x)
    if norms(module):
        assert all(norm.num_batches_tracked == 1 for norm in norms(module))
    else:
        torch.testing.assert_close(trained, evaluated, rtol=0, atol=0)


@every
def test_copies(name):
    """State dict, deepcopy and pickle give the same function."""
    module, x = built(name).eval(), draw()
    expected = module(x)
    loaded = built(name).eval()
    assert not torch.equal(loaded(x), expected) or not list(module.parameters())
    loaded.load_state_dict(module.state_dict())
    for twin in (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(x), expected, rtol=0, atol=0)


@every
def test_device_and_dtype(name):
    module = create(name, device="meta", dtype=torch.float64)
    assert all(tensor.is_meta for tensor in module.parameters())
    assert all(
        tensor.dtype == torch.float64
        for tensor in (*module.parameters(), *module.buffers())
        if tensor.is_floating_point()
    )


@every
def test_weights_assigned_to_a_module_on_the_meta_device(name):
    module, x = built(name).eval(), draw()
    twin = create(name, device="meta").eval()
    twin.load_state_dict(module.state_dict(), assign=True)
    torch.testing.assert_close(twin(x), module(x), rtol=0, atol=0)


@every
def test_channels_may_be_a_numpy_integer(name):
    module = create(name, np.int64(CHANNELS))
    module.load_state_dict(create(name).state_dict())
    assert {type(part.channels) for part in module.modules() if hasattr(part, "channels")} <= {int}
    for channels in (True, 64.0, torch.tensor(64)):
        with pytest.raises(ValueError, match="channels must be a whole number above 0"):
            create(name, channels)


@every
def test_parameters(name):
    for channels in (16, 32, 64, 256):
        expected = FORMULAS[name](channels, **place(name))
        assert sum(parameter.numel() for parameter in create(name, channels).parameters()) == expected
        assert attention_record(name).parameters(channels, **place(name)) == expected


@every
def test_gradients_reach_every_parameter(name):
    module = built(name).double().eval()
    cancelled = {id(pool.bias) for pool in module.modules() if isinstance(pool, ScorePool2d)}
    _, (of_x, *of_parameters) = gradients(module, draw(dtype=torch.float64))
    assert of_x.abs().max() > 0
    for (key, parameter), gradient in zip(module.named_parameters(), of_parameters, strict=True):
        if id(parameter) in cancelled:
            assert gradient.abs().max() < 1e-12, key  # the softmax takes no notice of a constant
        else:
            assert gradient.abs().max() > 1e-9, key


@every
def test_gradcheck(name):
    module = built(name).double()
    names = [key for key, _ in module.named_parameters()]

    def call(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    inputs = (draw(dtype=torch.float64).requires_grad_(), *module.parameters())
    # The fast mode multiplies atol by the root of the numbers of inputs and outputs: the default would pass anything.
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True, atol=1e-9, rtol=1e-5)


@every
def test_compiles_without_a_break(name):
    module, x = built(name).double(), draw(dtype=torch.float64)
    expected = gradients(copy.deepcopy(module), x)
    torch._dynamo.reset()
    found = gradients(torch.compile(module, backend="aot_eager", fullgraph=True), x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every
def test_compiles_without_a_break_in_eager_half_precision(name):
    module, x = built(name), draw(dtype=torch.bfloat16)
    with saam.use_backend("eager"), torch.autocast("cpu", torch.bfloat16):
        expected = gradients(copy.deepcopy(module), x)
        torch._dynamo.reset()
        found = gradients(torch.compile(module, backend="aot_eager", fullgraph=True), x)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.002)


@every
def test_is_one_call_for_fx(name):
    network, x = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), built(name)).eval(), draw(channels=3)
    traced = torch.fx.symbolic_trace(network)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]
    torch.testing.assert_close(traced(x), network(x), rtol=0, atol=0)


@every
def test_exports(name):
    module = built(name).eval()
    axes = {0: Dim("batch")}
    size = SIZE
    if "size" not in attention_record(name).needs:
        axes |= {2: Dim("height", min=7), 3: Dim("width", min=7)}
        size = (8, 12)
    program = torch.export.export(module, (draw(),), dynamic_shapes=(axes,))
    x = draw(batch=5, size=size)
    torch.testing.assert_close(program.module()(x), module(x))


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_of_large_activations(name, dtype):
    """Also in float16, whose largest number is 65504, activations of 1e4 neither overflow nor give NaN."""
    module = built(name)
    for x in (draw().clamp(-3, 3) * 1e4, (draw().clamp(-3, 3) * 1e4).to(dtype)):
        with torch.autocast("cpu", dtype=dtype):
            y, found = gradients(module, x, scale=1 / x.numel())
        assert y.shape == x.shape
        assert y.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in found)
        assert all(tensor.isfinite().all() for tensor in module.buffers())


@every
def test_an_empty_batch(name):
    module = built(name).eval()
    y, found = gradients(module, draw(batch=0))
    assert y.shape == (0, CHANNELS, *SIZE)
    assert found[0].shape == y.shape


@every
def test_on_the_meta_device(name):
    module, x = create(name), draw()
    shapes = [gradient.shape for gradient in gradients(copy.deepcopy(module), x)[1]]
    y, found = gradients(module.to("meta"), x.to("meta"))
    assert (y.device.type, y.shape) == ("meta", x.shape)
    assert [gradient.shape for gradient in found] == shapes


@every
@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["", "autocast"])
def test_a_replica_of_data_parallel(name, backend, dtype, autocast, monkeypatch):
    """By the code of torch, except that the copies stay on the CPU. A replica has no parameters."""
    code = importlib.import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(code, "_get_device_index", lambda device, _: device)
    monkeypatch.setattr(code, "_broadcast_coalesced_reshape", lambda tensors, *_, **__: [[t.clone() for t in tensors]])
    module, x = built(name).to(dtype).eval(), draw(dtype=dtype)
    (twin,) = code.replicate(module, ["cpu"])
    assert not list(twin.parameters())
    with saam.use_backend(backend), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        x = nn.functional.conv2d(x, torch.eye(CHANNELS, dtype=dtype)[:, :, None, None])  # in the dtype of autocast
        torch.testing.assert_close(twin(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["se", "saam", "eca", "cbam-channel", "gc"])
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_the_gates_gradient_does_not_overflow_in_float16(name, backend):
    """Its sum over the pixels is beyond 65504, the largest number of float16; all results are within."""
    module = built(name)
    nn.init.zeros_(list(module.excitation.parameters())[-1])
    x = (draw(size=(56, 56)).abs() * 20).half()
    found = []
    for dtype in (torch.float32, torch.float16):
        inputs = x.to(dtype).requires_grad_()
        with saam.use_backend(backend):
            y = module(inputs)
        upstream = torch.full_like(y, 2.0)
        gradients = torch.autograd.grad(y, [inputs, *module.parameters()], upstream)
        names = ["x", *(name for name, _ in module.named_parameters())]
        found.append({name: gradient.float() for name, gradient in zip(names, gradients, strict=True)})
    full, half = found
    for name, expected in full.items():
        assert half[name].isfinite().all()
        if name == "squeeze.bias":  # before the softmax: zero, and what rounding leaves of sums like the weight's
            assert half[name].abs().max() <= torch.finfo(torch.float32).eps * full["squeeze.weight"].abs().max()
        else:
            torch.testing.assert_close(half[name], expected, rtol=0.05, atol=0.01 * float(expected.abs().max()) + 1e-4)


@every
def test_deterministic(name):
    module, x = built(name).eval(), draw()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradients(module, x), gradients(module, x)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@every
def test_refuses_other_inputs(name):
    module = create(name)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        module(draw()[0])
    with pytest.raises(TypeError, match="floating"):
        module(torch.ones(2, CHANNELS, *SIZE, dtype=torch.long))
    with pytest.raises(ValueError, match=r"channels.*above 0"):
        create(name, 0)
    if "size" in attention_record(name).needs:
        with pytest.raises(ValueError, match=rf"{SIZE[0]}.*{SIZE[1]}"):
            module(draw(size=(12, 13)))


@every
def test_refuses_other_channels(name):
    with pytest.raises(ValueError, match=rf"{CHANNELS} channels.*32"):
        create(name)(draw(channels=32))


@pytest.mark.parametrize("name", [name for name in list_attentions() if "squeeze" in options_of(name)])
def test_score_squeeze_starts_as_the_mean(name):
    scored, averaged = create(name, squeeze="score"), built(name, squeeze="mean")  # in training: no ReLU is dead
    for key, tensor in averaged.state_dict().items():
        scored.state_dict()[key].copy_(tensor)
    pools = [pool for pool in scored.modules() if isinstance(pool, ScorePool2d)]
    assert pools
    for pool in pools:
        nn.init.zeros_(pool.weight)
    x = draw()
    torch.testing.assert_close(scored(x), averaged(x))
    for pool in pools:
        nn.init.normal_(pool.weight)
    assert not torch.allclose(scored(x), averaged(x))
