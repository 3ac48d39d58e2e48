"""Peak memory of tensors.

The sizes of storages are summed as they are allocated and freed. Scratch space inside an operation is not counted.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_memory"]


def peak_memory(step: Callable[[], object], tensors: Iterable[Tensor]) -> int:
    """Return the largest number of bytes that tensors hold at once while ``step`` runs.

    Args:
        step: Function that is called once.
        tensors: Existing tensors; every storage is counted once. Pass an iterator if ``step`` frees some of them,
            because a list would keep them alive.
    """
    with _LiveBytes() as live:
        for tensor in tensors:
            live.watch(tensor)
        step()
    return int(live.peak)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Track the storages that operations allocate, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[int, int] = {}
        self.total = self.peak = 0

    def watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.held:
            self.held[key] = size
            self.total += size
            self.peak = max(self.peak, self.total)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.total -= self.held.pop(key)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = operation(*args, **(kwargs or {}))
        for entry in tree_leaves(out):
            if isinstance(entry, Tensor):
                self.watch(entry)
        return out
