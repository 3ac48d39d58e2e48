"""The derivatives of ``saam::squeeze`` and ``saam::rescale``, and direct calls of the two."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saam.functional._check import accumulator
from saam.functional._torch import below_autograd, transform
from saam.functional.combine import as_map, value_gradient
from saam.functional.fused.operations import CHANNEL, MAX, MEAN, PIXEL, VARIANCE, laid_out_as
from saam.functional.scores import convolve, score_weights, weigh
from saam.functional.statistics import channel_max, channel_mean, channel_variance

__all__ = ["eager_squeeze", "rescale", "squeeze"]


def squeeze(
    x: Tensor, scorer: Tensor | None, kind: int, scale: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Call saam::squeeze with the least overhead."""
    call = _Squeeze.apply if _direct() else torch.ops.saam.squeeze.default
    result: tuple[Tensor, Tensor, Tensor, Tensor] = call(x, scorer, kind, scale, joint)
    return result


def rescale(x: Tensor, factor: Tensor, token_x: Tensor | None, token_a: Tensor | None, adds: bool) -> Tensor:
    """Call saam::rescale with the least overhead."""
    call = _Rescale.apply if _direct() else torch.ops.saam.rescale.default
    y: Tensor = call(x, factor, token_x, token_a, adds)
    return y


def eager_squeeze(x: Tensor, scorer: Tensor | None, kind: int, scale: float) -> Tensor:
    """Compute the z of saam::squeeze (B, K, C) from its definition, which is differentiable any number of times."""
    x = x.to(accumulator(x.dtype))
    if scorer is None:
        statistics = ((MEAN, channel_mean), (VARIANCE, channel_variance), (MAX, channel_max))
        return torch.stack([statistic(x) for bit, statistic in statistics if kind & bit], 1)
    if kind == PIXEL:
        scorer = convolve(x, scorer[:, :, None, None])
    elif kind == CHANNEL:
        scorer = convolve(x, scorer[:, None, None, None], groups=x.shape[1])
    return weigh(x, score_weights(scorer * scale)).unsqueeze(1)


def _direct() -> bool:
    """Return whether autograd may call our functions directly. Graphs and vmap need torch.library in between."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and transform() is None


def _keep_squeeze(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, scorer, ctx.kind, ctx.scale, joint = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*(output[1:2] if joint else output[1:]))
    ctx.save_for_backward(x, scorer, *output[:2])


def _squeeze_backward(ctx: Any, dz: Tensor | None, _: None, dy: Tensor | None, factor: Tensor | None) -> Any:
    x, scorer, z, saved = ctx.saved_tensors
    need_dx, need_dscorer, *_rest = ctx.needs_input_grad
    dz = torch.zeros_like(z) if dz is None else dz.contiguous()
    if torch.is_grad_enabled():
        dx, dscorer = _squeeze_backward_again(x, scorer, dz, ctx)
        if dx is not None and dy is not None and factor is not None:
            dx = dx + dy * as_map(factor, dy)
    else:
        dy = None if dy is None else laid_out_as(dy, x)
        factor = None if factor is None else factor.contiguous()
        dx, dscorer = torch.ops.saam.squeeze_backward.default(
            x, scorer, z, saved, dz, dy, factor, ctx.kind, ctx.scale, need_dx
        )
    return dx if need_dx else None, dscorer if need_dscorer else None, None, None, None


def _squeeze_backward_again(
    x: Tensor, scorer: Tensor | None, dz: Tensor, ctx: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients by operations that are differentiable themselves."""
    x, scorer = x.view_as(x), None if scorer is None else scorer.view_as(scorer)  # not through what the scorer is from
    need_dx, need_dscorer, *_ = ctx.needs_input_grad
    wanted = [t for t, need in ((x, need_dx), (scorer, need_dscorer)) if need and t is not None]
    z = eager_squeeze(x, scorer, ctx.kind, ctx.scale)
    results = list(torch.autograd.grad(z, wanted, dz, create_graph=True))
    return results.pop(0) if need_dx else None, results.pop(0) if need_dscorer else None


def _keep_rescale(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, factor, token_x, _, ctx.adds = inputs
    ctx.joint = token_x is not None
    ctx.save_for_backward(x, factor)


def _rescale_backward(ctx: Any, dy: Tensor) -> Any:
    x, factor = ctx.saved_tensors
    slope = torch.ones_like(factor) if ctx.adds else factor
    if torch.is_grad_enabled():
        dfactor = value_gradient(dy, x, adds=ctx.adds)
    else:
        dy = laid_out_as(dy, x)
        dfactor = torch.ops.saam.rescale_backward.default(dy, x, ctx.adds)
    if ctx.joint:
        return None, dfactor, dy, slope, None
    return dy * as_map(slope, dy), dfactor, None, None, None


def _node(operation: Any, keep: Callable[..., None], backward: Callable[..., Any]) -> type[torch.autograd.Function]:
    """Create the autograd function of an operation.

    Calling it directly avoids torch.library and saves a tenth of a millisecond per step.
    """

    def forward(ctx: Any, *inputs: Any) -> Any:
        with below_autograd():
            output = operation(*inputs)
        keep(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Node", (torch.autograd.Function,), members)


torch.library.register_autograd("saam::squeeze", _squeeze_backward, setup_context=_keep_squeeze)
torch.library.register_autograd("saam::rescale", _rescale_backward, setup_context=_keep_rescale)
_Squeeze = _node(torch.ops.saam.squeeze.default, _keep_squeeze, _squeeze_backward)
_Rescale = _node(torch.ops.saam.rescale.default, _keep_rescale, _rescale_backward)
