"""Networks that surgery cannot be done on, and the reason."""

from torch import nn

__all__ = ["refuse"]

_REASONS = {
    "DistributedDataParallel": "its workers know which parameters they share; take model.module, then wrap again",
    "DataParallel": "its copies would not agree; take model.module",
    "FullyShardedDataParallel": "its parameters are cut into shards; take the network before it is sharded",
    "FSDPModule": "its parameters are cut into shards; take the network before it is sharded",
    "OptimizedModule": "compiled code would not see a change; take the network that was compiled (model._orig_mod), "
    "then compile again",
    "ScriptModule": "scripted code stays as it is; take the Python network, then script it again",
}


def refuse(model: nn.Module, to: str = "change") -> None:
    """Raise if a network, or a part of it, is wrapped or compiled so that a change would be lost or do harm.

    Args:
        model: the network.
        to: what it cannot be done to: "change" or "save".

    Raises:
        TypeError: it is no network, or one that is distributed, compiled or scripted.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a network (torch.nn.Module), got {type(model).__name__}")
    for name, module in model.named_modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if getattr(module, "_compiled_call_impl", None) is not None:
            kinds.add("OptimizedModule")
        for kind, reason in _REASONS.items():
            if kind in kinds:
                what = f"the part {name!r} of the network" if name else "the network"
                raise TypeError(f"cannot {to} {what}, a {type(module).__name__} ({kind}): {reason}")
