"""Channel attention for PyTorch with a learned, score-based pooling.

Importing saam loads torch and nothing else heavy; what needs more comes in when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saam._version import __version__
from saam.functional import rescale, score_aggregate
from saam.functional.backend import backends, use_backend
from saam.nn import SAAM, ChannelAttention, ScorePool, ScorePool2d, create_attention, list_attentions, no_weight_decay

if TYPE_CHECKING:
    from saam.comparison import Metric, compare
    from saam.explain.score_maps import score_maps
    from saam.explain.score_use import score_use
    from saam.models import create_model, list_models, load, save
    from saam.models.hub import from_hub, push_to_hub
    from saam.surgery.attach import attach
    from saam.surgery.detach import detach, new_parameters
    from saam.surgery.sites import sites
    from saam.surgery.upgrade import upgrade

_LATER = {
    "saam.comparison": ("Metric", "compare"),
    "saam.explain": ("score_maps", "score_use"),
    "saam.models": ("create_model", "list_models", "load", "save"),
    "saam.models.hub": ("from_hub", "push_to_hub"),
    "saam.surgery": ("attach", "detach", "new_parameters", "sites", "upgrade"),
}

__all__ = [
    "SAAM",
    "ChannelAttention",
    "Metric",
    "ScorePool",
    "ScorePool2d",
    "__version__",
    "attach",
    "backends",
    "compare",
    "create_attention",
    "create_model",
    "detach",
    "from_hub",
    "list_attentions",
    "list_models",
    "load",
    "new_parameters",
    "no_weight_decay",
    "push_to_hub",
    "rescale",
    "save",
    "score_aggregate",
    "score_maps",
    "score_use",
    "sites",
    "upgrade",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'saam' has no attribute {name!r}")
