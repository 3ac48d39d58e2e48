"""Networks that surgery cannot be done on, and the reason."""

from torch import nn

__all__ = ["refuse"]

_REASONS = {
    "DistributedDataParallel": "its workers know which parameters they share; attach to model.module, then wrap again",
    "DataParallel": "its copies would not agree; attach to model.module",
    "FullyShardedDataParallel": "its parameters are cut into shards; attach first, then shard",
    "FSDPModule": "its parameters are cut into shards; attach first, then shard",
    "OptimizedModule": "compiled code would not see the change; attach to the network that was compiled "
    "(model._orig_mod), then compile again",
    "ScriptModule": "scripted code cannot be changed; attach to the Python network, then script it",
}


def refuse(model: nn.Module) -> None:
    """Raise if a network, or a part of it, is wrapped or compiled so that a change would be lost or do harm.

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
                raise TypeError(f"cannot change {what}, a {type(module).__name__} ({kind}): {reason}")
