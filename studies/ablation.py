"""Which scorer? Score-based aggregation with one thing changed at a time, on CIFAR-100, chosen on validation images.

    python studies/ablation.py DATA --out OUT [--stride 1] [--seeds 0 1 2] [--arms none se saam ...] [--workers 2]

DATA is a folder with CIFAR-100's train-*.parquet and nothing else, so that the test set stays closed: a tenth of the
training images is held out for validation, and another tenth in the place of a test set. A run that is finished is not
repeated. The candidates that are no part of the library stand here, each a scorer of a few lines.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from saam import SAAM
from saam.comparison import Plan, compare
from saam.nn import AttentionRecord, register
from saam.training import create_recipe


class Scorer(nn.Module):
    """What the candidates share: keys that score by one learned vector, started at zero."""

    def __init__(self, channels: int, keys: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(keys or channels))

    def along(self, keys: Tensor) -> Tensor:
        """(B, K, H, W) -> (B, 1, H, W)."""
        return (keys * self.weight[:, None, None]).sum(1, keepdim=True)

    def no_weight_decay(self) -> set[str]:
        """Name all parameters."""
        return {name for name, _ in self.named_parameters()}


class LearnedTemperature(Scorer):
    """``gain w.x``: the temperature 1 / gain is learned too, from 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.along(x)


class NormedKeys(Scorer):
    """``w.LayerNorm(x)``, the norm over the channels of a pixel (SimPool)."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return self.along(centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt())


class SharedAndOwn(Scorer):
    """``w.x + a_c x_c``: one map for all channels and one for each."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.own = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.along(x) + self.own[:, None, None] * x


class Query(nn.Module):
    """``q.k / sqrt(r)`` with q = Wq mean(x), k = Wk x of rank r = C/8; Wq starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rank = max(4, channels // 8)
        self.key = nn.Conv2d(channels, self.rank, 1, bias=False)
        self.query = nn.Parameter(torch.zeros(self.rank, channels))

    def forward(self, x: Tensor) -> Tensor:
        query = x.mean((2, 3)) @ self.query.T
        return torch.einsum("br,brhw->bhw", query, self.key(x))[:, None] / self.rank**0.5


class TanhGated(Scorer):
    """``w.(tanh(V x) * sigmoid(U x))`` with C/4 hidden units (attention MIL, Ilse et al., arXiv:1802.04712)."""

    def __init__(self, channels: int) -> None:
        hidden = max(4, channels // 4)
        super().__init__(channels, hidden)
        self.tanh, self.gate = (nn.Conv2d(channels, hidden, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.along(self.tanh(x).tanh() * self.gate(x).sigmoid())


class RandomStart(Scorer):
    """``w.x`` with w drawn from N(0, 1/C)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.normal_(self.weight, std=channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.along(x)


def eighth(channels: int, **options: object) -> SAAM:
    """SAAM with C/8 heads."""
    return SAAM(channels, heads=channels // 8, **options)


CANDIDATES = {
    "trial:learned-temperature": partial(SAAM, scorer=LearnedTemperature),
    "trial:normed-keys": partial(SAAM, scorer=NormedKeys),
    "trial:shared-and-own": partial(SAAM, scorer=SharedAndOwn),
    "trial:query": partial(SAAM, scorer=Query),
    "trial:tanh-gated": partial(SAAM, scorer=TanhGated),
    "trial:random-start": partial(SAAM, scorer=RandomStart),
    "trial:heads-eighth": lambda channels, *, device=None, dtype=None: eighth(channels, device=device, dtype=dtype),
}
ARMS = (
    "none",
    "se",
    "saam",
    "saam,temperature=sqrt",
    "saam,heads=4",
    "se,squeeze=mean+score",
    "cbam-channel,squeeze=mean+score",
    "saam,temperature=0.3162",  # the same as ten times the learning rate for the scorer, see ScorePool2d
    "trial:normed-keys",
    "trial:query",
    "trial:shared-and-own",
    "trial:learned-temperature",
    "none,head=score",
    "saam,head=score",
    "cbam-channel",
    "saam,temperature=2.0",
    "saam,temperature=0.25",
    "saam,scorer=channel",
    "saam,kernel_size=3",
    "trial:heads-eighth",
    "trial:tanh-gated",
    "trial:random-start",
    "gc:mul",
)

for name, build in CANDIDATES.items():  # at import, so that the worker processes know them too
    register(
        AttentionRecord(
            name=name,
            build=build,
            description="a candidate of the ablation",
            paper="",
            source="studies/ablation.py",
            parameters=lambda channels, build=build: sum(part.numel() for part in build(channels).parameters()),
        )
    )


def plan(data: str, arms: tuple[str, ...], seeds: tuple[int, ...], stride: int = 2) -> Plan:
    """Return the plan of these runs: ResNet-14, six epochs of one cycle; a stem stride of 2 halves the resolution."""
    return Plan(
        model="resnet14",
        model_options={"stem_stride": stride},
        data=data,
        data_options={"label": "cifar100, training file"},
        recipe=create_recipe("cifar-short", epochs=6, batch_size=64, channels_last=True),
        arms=arms,
        seeds=seeds,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    compare(
        plan(str(given.data), tuple(given.arms), tuple(given.seeds), given.stride),
        given.out,
        workers=given.workers,
        costs=False,
        on_record=lambda record: print(
            f"{record.arm}, seed {record.seed}: training {record.curve[-1]['train_loss']:.4f}, "
            f"validation {record.validation['loss']:.4f} nats, {record.validation['accuracy']:.2f} %",
            flush=True,
        ),
    )
