"""What a file may specify about a network, such as the config.json of a stranger.

A file may specify only architectures: a name of this library, of timm or of torchvision without a path in it, plain
values for the options in ``ARCHITECTURE``, and attention by name with plain options. None of these downloads, reads or
writes anything: weights come only from the file beside the description. The size of the network is checked against
those weights before memory is allocated.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from saam._core.options import parse_options
from saam._core.plain import plain_options, require_word
from saam._core.random import generators_kept

__all__ = ["ARCHITECTURE", "check_attention", "check_network", "check_surgery", "room_for"]

ARCHITECTURE = frozenset(
    {
        # this library
        *("width", "in_channels", "stem_stride", "dropout"),
        # timm
        *("in_chans", "img_size", "patch_size", "global_pool", "act_layer", "norm_layer", "output_stride"),
        *("drop_rate", "drop_path_rate", "drop_block_rate", "attn_drop_rate", "proj_drop_rate", "pos_drop_rate"),
        *("embed_dim", "depth", "depths", "dims", "num_heads", "mlp_ratio", "qkv_bias", "class_token", "init_values"),
        *("layers", "channels", "cardinality", "base_width", "stem_width", "stem_type", "stem_chs", "avg_down"),
        *("channel_multiplier", "depth_multiplier", "bn_eps", "bn_momentum", "zero_init_last"),
        # torchvision
        *("aux_loss", "aux_logits", "transform_input", "init_weights", "width_mult", "stochastic_depth_prob"),
        *("zero_init_residual", "groups", "width_per_group", "image_size", "attention_dropout", "num_keypoints"),
    }
)
"""The options of networks that a file may set."""

_NAME = r"(?:(?:timm|torchvision):)?[a-z0-9_]{1,80}(?:\.[a-z0-9_]{1,80})?"
_MOST_CLASSES = 1_000_000
_MOST_CHANGES = 2_000  # records of surgery
_SPARE = 2**22  # elements in addition to the weights: buffers that are not saved, parts that surgery replaces
_TIMES = 4  # factor on the elements and modules of the weights, because surgery registers some again
_SPARE_MODULES = 10_000


def check_network(name: Any, num_classes: Any, options: Any) -> dict[str, Any]:
    """Return the keyword arguments of :func:`saam.create_model` for a network described in a file.

    Raises:
        ValueError: If a file may not set this name, number of classes or option.
    """
    name = require_word("the network", name, _NAME)
    if num_classes is not None and (not isinstance(num_classes, int) or not 0 < num_classes <= _MOST_CLASSES):
        raise ValueError(f"expected the number of classes of {name}, 1 to {_MOST_CLASSES}, got {num_classes!r:.80}")
    return {"name": name, "num_classes": num_classes, **plain_options(name, options, ARCHITECTURE)}


def check_attention(label: Any) -> str:
    """Return the label of an arm given in a file, such as "eca,squeeze=score" or "none,head=score,heads=4".

    Raises:
        ValueError: If a file may not set the name or an option.
    """
    if not isinstance(label, str) or len(label) > 400:
        raise ValueError(f"expected an attention with options, got {label!r:.80}")
    name, options = parse_options(label)
    require_word("an attention", name)
    plain_options(f"attention {name}", options)
    return label


def check_surgery(surgery: Any) -> list[dict[str, Any]]:
    """Return the records of surgery given in a file, see :func:`saam.models.describe`.

    Raises:
        ValueError: If they do not have this form, or a file may not set one of the options.
    """
    if not isinstance(surgery, list) or len(surgery) > _MOST_CHANGES:
        raise ValueError(f"expected a list of at most {_MOST_CHANGES} changes to the network, got {surgery!r:.80}")
    for record in surgery:
        if not isinstance(record, dict) or record.get("do") not in ("attach", "upgrade", "upgrade-head"):
            raise ValueError(f"expected a change to the network (attach, upgrade or upgrade-head), got {record!r:.80}")
        if record["do"] == "attach":
            _check_attach(record)
        else:
            plain_options("a squeeze", {"squeeze": record["squeeze"]})
        plain_options(f"{record.get('attention') or 'a squeeze'!s:.80}", record["options"])
    return surgery


def _check_attach(record: Mapping[str, Any]) -> None:
    site = record["site"]
    if record["attention"] is not None:
        require_word("an attention", record["attention"])
    if not isinstance(site, dict) or not isinstance(site.get("name"), str):
        raise ValueError(f"expected the site of an attention, got {site!r:.80}")
    plain_options("a site", {key: value for key, value in site.items() if key != "name"})


@contextmanager
def room_for(weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Refuse networks that are far larger than their weights, while they are built in this block and thread.

    Parameters and buffers are counted when a module registers them, before their values are drawn. At that point memory
    is reserved but hardly used.

    Args:
        weights: The weights in the file; None sets no bound.

    Raises:
        ValueError: If a tensor, or all of them together, are too large.
    """
    if weights is None:
        yield
        return
    held, thread = sum(value.numel() for value in weights.values()) + _SPARE, threading.get_ident()
    most, elements, modules = _SPARE_MODULES + _TIMES * len(weights), 0, 0

    def count(module: nn.Module, name: str, value: Tensor | nn.Module | None) -> None:
        nonlocal elements, modules
        if threading.get_ident() != thread:
            return
        modules += isinstance(value, nn.Module)
        size = value.numel() if isinstance(value, Tensor) else 0
        elements += size
        if size > held or elements > _TIMES * held or modules > most:
            raise ValueError(
                f"the described network is far larger than its weights, which have {held - _SPARE:,} values"
            )

    handles = (
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    )
    try:
        with generators_kept():
            yield
    finally:
        for handle in handles:
            handle.remove()
