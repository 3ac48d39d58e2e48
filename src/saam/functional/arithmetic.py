"""Count the arithmetic of PyTorch's operations in multiply-accumulates.

One multiply-accumulate (MAC) adds one product to a sum. For convolutions and matrix products the count follows from
their formulas. Other arithmetic counts as well, because the compared modules differ in it:

    elementwise operations (sum of two maps, product, activation)   1 for each element of the largest tensor involved
    reductions (mean, sum, max, norm)                               1 for each element of the input
    variance, standard deviation, log-sum-exp                       2 for each element of the input
    softmax                                                         3 for each element: exponential, sum, division
    batch norm                                                      1 for each element: one scale and one shift
    layer, group and RMS norm                                       4 for each element: variance, then scale and shift
    pooling with a window                                           1 for each element of each window
    views, copies, padding, concatenation, indexing                 0

So ResNet-20 has slightly more than the 40.8 million MACs of its convolutions.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["MacCounter"]

_NO_ARITHMETIC = """
    _reshape_copy _to_copy _unsafe_view arange cat clone constant_pad_nd copy_ empty empty_like empty_strided fill_ flip
    full full_like gather im2col index index_select new_empty new_full new_ones new_zeros ones ones_like pixel_shuffle
    reflection_pad2d repeat replication_pad2d roll scalar_tensor stack upsample_nearest2d zero_ zeros zeros_like
"""
_FREE = frozenset(_NO_ARITHMETIC.split())
_FACTORS = {
    "logsumexp": 2,
    "std": 2,
    "std_mean": 2,
    "var": 2,
    "var_mean": 2,
    "_log_softmax": 3,
    "_softmax": 3,
    "_fused_rms_norm": 4,
    "native_group_norm": 4,
    "native_layer_norm": 4,
}


_UNKNOWN = ("mkldnn_rnn_layer", "_cudnn_rnn")


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count in ``total`` the multiply-accumulates of every operation that runs in the block.

    Raises:
        ValueError: If an operation cannot be counted: a recurrent network, or one that is not PyTorch's own.

    Example:
        >>> with MacCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> counter.total
        24
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __enter__(self) -> Self:
        """Count from here on, without the fast path of `nn.MultiheadAttention`, one operation that shows no parts."""
        self._fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.backends.mha.set_fastpath_enabled(self._fast)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = operation(*args, **(kwargs or {}))
        if operation.namespace == "profiler":  # the name of a block, as nn.DataParallel gives its forward
            return out
        if operation.namespace not in ("aten", "prim", "prims"):
            raise ValueError(f"cannot count the operation {operation}: it is not PyTorch's own; leave the costs out")
        self.total += _macs(operation, args, out)
        return out


def _macs(operation: Any, args: Sequence[Any], out: Any) -> int:
    name = operation.overloadpacket.__name__
    if operation.is_view or name in _FREE:
        return 0
    if name in _PRODUCTS:
        return _PRODUCTS[name](args, out)
    if name in _UNKNOWN:
        raise ValueError(f"cannot count the operation {operation}, a whole recurrent network; leave the costs out")
    if "batch_norm" in name:
        return int(args[0].numel())
    sizes = [tensor.numel() for tensor in tree_leaves((args, out)) if isinstance(tensor, Tensor)]
    return _FACTORS.get(name.rstrip("_"), 1) * max(sizes, default=0)


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return int((x if transposed else out).numel() * weight[0].numel())


def _window(args: Sequence[Any], out: Any) -> int:
    size = args[1] if len(args[1]) > 1 else [*args[1], *args[1]]
    return int((out if isinstance(out, Tensor) else out[0]).numel() * prod(size))


def _attention(args: Sequence[Any], out: Any) -> int:
    """Count scaled dot-product attention, (B, heads, length, channels): scores q.k, softmax, weighted sum of v."""
    query, key, value = args[:3]
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return int(pairs * (query.shape[-1] + 3 + value.shape[-1]))


_PRODUCTS: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "convolution": _convolution,
    "mm": lambda args, out: out.numel() * args[0].shape[-1],
    "bmm": lambda args, out: out.numel() * args[0].shape[-1],
    "mv": lambda args, out: args[0].numel(),
    "dot": lambda args, out: args[0].numel(),
    "addmm": lambda args, out: out.numel() * args[1].shape[-1],
    "baddbmm": lambda args, out: out.numel() * args[1].shape[-1],
    "linear": lambda args, out: out.numel() * args[0].shape[-1],
    "avg_pool2d": _window,
    "max_pool2d_with_indices": _window,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}
