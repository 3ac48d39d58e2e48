"""The graph of a network as it runs: the operation and inputs of each tensor, and the modules that passed it on.

It is recorded from one forward pass, so it needs neither tracing nor export and works for every network that runs.
"""

from collections import Counter
from collections.abc import Container, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from saam.functional import use_backend
from saam.surgery.probe import at_rest, call

__all__ = ["WEIGHTED", "Graph", "Value", "record"]

WEIGHTED = frozenset({"convolution", "linear", "addmm", "mm", "bmm", "baddbmm"})


@dataclass(eq=False)
class Value:
    """One tensor at one moment: an in-place operation makes a new value of the same tensor."""

    index: int
    operation: str
    """Name of the aten operation without overload and trailing underscore; "input" for the network's inputs."""
    inputs: tuple["Value", ...]
    shape: tuple[int, ...]
    frame: str
    """Module whose forward ran the operation."""
    ancestors: int
    """Bit i is set if this value depends on value i; a value is its own ancestor."""
    made_by: list[str] = field(default_factory=list)
    """Modules that returned it without receiving it, innermost first."""
    passed_by: list[str] = field(default_factory=list)
    """Modules that received it as first argument and returned it unchanged."""
    taken_by: list[str] = field(default_factory=list)
    """Modules that received it as first argument."""

    def descends(self, other: "Value") -> bool:
        """Return whether this value depends on ``other``, or is it."""
        return bool(self.ancestors >> other.index & 1)


@dataclass(frozen=True)
class Graph:
    """All values of one forward pass, in the order of their creation."""

    values: list[Value]
    outputs: list[Value]
    calls: Counter[str]
    """How often each module ran."""
    example: Any
    """The network's input."""
    size: tuple[int, int]
    """Height and width of the network's input."""
    consumers: dict[int, list[Value]]
    """Index of a value -> the values made from it."""
    descendants: list[int]
    """For each value, the set of values that depend on it, itself included, as bits."""

    @cached_property
    def weighted(self) -> int:
        """The set of values computed by a convolution or matrix product, as bits."""
        return self.which(WEIGHTED)

    @cached_property
    def enlarged(self) -> int:
        """The set of values computed by an upsampling or a transposed convolution, as bits."""
        return sum(1 << value.index for value in self.values if _enlarges(value))

    def is_map(self, value: Value) -> bool:
        """Return whether a value is a feature map (B, C, H, W): both sides are the input's divided by one factor."""
        if len(value.shape) != 4 or value.shape[2] * value.shape[3] < 2:
            return False
        height, width = value.shape[2:]
        return abs(height * self.size[1] - width * self.size[0]) <= max(self.size)

    def between(self, start: Value, end: Value) -> int:
        """Return the set of values on the paths from ``start`` (excluded) to ``end``, as bits."""
        return end.ancestors & self.descendants[start.index] & ~(1 << start.index)

    def which(self, operations: Container[str]) -> int:
        """Return the set of values computed by one of these operations, as bits."""
        return sum(1 << value.index for value in self.values if value.operation in operations)


def record(model: nn.Module, example: Any) -> Graph:
    """Run a network once on an example and return its graph. The network is not changed.

    Raises:
        Exception: If the network raises any error on this example.
    """
    recorder = _Recorder()
    inputs = [leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor)]
    images = [leaf for leaf in inputs if leaf.ndim >= 3]
    if not images:
        raise ValueError("expected an example with an image in it, (B, C, H, W), got none")
    for tensor in inputs:
        recorder.define(tensor, "input", ())
    with at_rest(model), use_backend("eager"), _watched(model, recorder), recorder:
        output = call(model, example)
    consumers: dict[int, list[Value]] = {}
    for value in recorder.values:
        for source in value.inputs:
            consumers.setdefault(source.index, []).append(value)
    descendants = [1 << value.index for value in recorder.values]
    for value in reversed(recorder.values):
        for source in value.inputs:
            descendants[source.index] |= descendants[value.index]
    outputs = [recorder.value(leaf) for leaf in _tensors(output)]
    return Graph(
        recorder.values,
        [value for value in outputs if value is not None],
        recorder.calls,
        example,
        (images[0].shape[-2], images[0].shape[-1]),
        consumers,
        descendants,
    )


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: list[Value] = []
        self.calls: Counter[str] = Counter()
        self.stack: list[tuple[str, Value | None]] = []
        self._current: MutableMapping[Tensor, Value] = WeakTensorKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False; otherwise torch would import its whole compiler at the first recording."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [value for leaf in tree_leaves((args, kwargs)) if (value := self.value(leaf)) is not None]
        out = func(*args, **(kwargs or {}))
        if inputs and func is not torch.ops.aten.as_strided_.default:  # it ends adaptive pooling and has no effect
            name = func._schema.name.partition("::")[2].strip("_")
            for tensor in _tensors(out):
                self.define(tensor, name, tuple(dict.fromkeys(inputs)))
        return out

    def value(self, leaf: Any) -> Value | None:
        return self._current.get(leaf) if isinstance(leaf, Tensor) else None

    def define(self, tensor: Tensor, operation: str, inputs: tuple[Value, ...]) -> None:
        index = len(self.values)
        ancestors = 1 << index
        for value in inputs:
            ancestors |= value.ancestors
        frame = self.stack[-1][0] if self.stack else ""
        self.values.append(Value(index, operation, inputs, tuple(tensor.shape), frame, ancestors))
        self._current[tensor] = self.values[-1]

    def enter(self, name: str, args: tuple[Any, ...]) -> None:
        value = self.value(args[0]) if args else None
        if value is not None:
            value.taken_by.append(name)
        self.stack.append((name, value))
        self.calls[name] += 1

    def leave(self, name: str, output: Any) -> None:
        _, received = self.stack.pop()
        value = self.value(output)
        if value is not None:
            (value.passed_by if value is received else value.made_by).append(name)


@contextmanager
def _watched(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Notify the recorder when a module of the network starts and ends."""
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(lambda _, args, name=name: recorder.enter(name, args))
            after = module.register_forward_hook(lambda _, args, output, name=name: recorder.leave(name, output))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _enlarges(value: Value) -> bool:
    if value.operation == "convolution":
        return 2 * value.shape[-1] > 3 * value.inputs[0].shape[-1]
    return "upsample" in value.operation or value.operation == "pixel_shuffle"
