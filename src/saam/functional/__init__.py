"""The operations on feature maps. Eager PyTorch defines them; a fused backend computes the same faster."""

from saam.functional.aggregate import score_aggregate
from saam.functional.backend import use_backend
from saam.functional.combine import rescale, shift
from saam.functional.scores import score_weights
from saam.functional.statistics import (
    channel_covariance,
    channel_gem,
    channel_l2,
    channel_logsumexp,
    channel_max,
    channel_mean,
    channel_std,
)

__all__ = [
    "channel_covariance",
    "channel_gem",
    "channel_l2",
    "channel_logsumexp",
    "channel_max",
    "channel_mean",
    "channel_std",
    "rescale",
    "score_aggregate",
    "score_weights",
    "shift",
    "use_backend",
]
