"""Channel attention for PyTorch with a learned, score-based pooling.

Importing saam loads torch and nothing else heavy; what needs more comes in when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saam._version import __version__
from saam.functional import rescale, score_aggregate
from saam.functional.backend import backends
from saam.nn import SAAM, ChannelAttention, ScorePool2d, create_attention, list_attentions

if TYPE_CHECKING:
    from saam.explain import score_maps
    from saam.models import create_model
    from saam.surgery import attach, detach

_LATER = {
    "attach": "saam.surgery",
    "create_model": "saam.models",
    "detach": "saam.surgery",
    "score_maps": "saam.explain",
}

__all__ = [
    "SAAM",
    "ChannelAttention",
    "ScorePool2d",
    "__version__",
    "attach",
    "backends",
    "create_attention",
    "create_model",
    "detach",
    "list_attentions",
    "rescale",
    "score_aggregate",
    "score_maps",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'saam' has no attribute {name!r}")
