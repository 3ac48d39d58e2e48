"""What a user may bring: an attention, a network, training functions; worker processes import this file."""

import os
import random
import time
from concurrent.futures import BrokenExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saam.comparison import Outcome


class Mine(nn.Module):
    """A gate of its own."""

    def __init__(self, channels, scale=1.0):
        super().__init__()
        self.gate, self.scale = nn.Conv2d(channels, channels, 1), scale

    def forward(self, x):
        return self.scale * x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))


class Net(nn.Module):
    """A network of its own, whose two last layers share their weights."""

    def __init__(self, num_classes, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.second(self.first(self.body(x).mean((2, 3)))))


def net(num_classes, width=8):
    """Return the network."""
    return Net(num_classes, width)


def line(width=4):
    """Return a network with a site for attention."""
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 1))


def task(arm, seed, context):
    """Fit a few weights, on from where a kill left them; the options say which run kills its worker, and when."""
    model = context.build(line, where="conv", example=torch.zeros(1, 1, 8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state, begin = context.folder / "state.pt", 1
    if state.is_file():
        kept = torch.load(state)
        model.load_state_dict(kept["model"])
        begin = kept["epoch"] + 1
    for epoch in range(begin, 5):
        x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(100 * seed + epoch)).to(context.device)
        loss = (model(x) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        context.report(epoch, 4, loss=loss.item(), iou=50 + epoch)
        torch.save({"model": model.state_dict(), "epoch": epoch}, state)
        mark = Path(context.options.get("marks", "/nowhere")) / f"{arm}-{seed}"
        if [arm, seed, epoch] == context.options.get("kill") and not mark.exists():
            mark.write_text(str(os.getpid()))
            os._exit(9)
    model.eval()
    with torch.no_grad():
        values = torch.stack([(model(torch.full((1, 1, 8, 8), i / 10)) - 1).square().mean() for i in range(6)])
    return Outcome({"loss": float(values.mean()), "iou": 100 - values.mean()}, values={"loss": values}, model=model)


def draws(arm, seed, context):
    """Return what the global generators give."""
    return {"torch": torch.rand(()), "numpy": np.random.rand(), "python": random.random()}


def without(arm, seed, context):
    """Return scores among which the metric is missing."""
    return {"accuracy": 1.0, "loss": 2.0}


def nothing(arm, seed, context):
    """Forget to return."""


def leaves(arm, seed, context):
    """End the process as argparse does."""
    raise SystemExit(2)


def late(arm, seed, context):
    """Report an epoch that there is not."""
    context.report(0, 3, loss=1.0)


def diverges(arm, seed, context):
    """Return scores that are no numbers or far too large."""
    context.report(1, 1, loss=1e30)
    return {"score": float("nan") if arm == "se" else -1e30 if seed else -2.5}


def permission(arm, seed, context):
    raise PermissionError(13, "Permission denied", "/data/mine.pt")


class MuteError(ValueError):
    def __str__(self):
        raise RuntimeError("no words")


def mute(arm, seed, context):
    raise MuteError


def doubles(arm, seed, context):
    """Change a global setting after the draw, as some scripts do."""
    drawn = float(torch.randn(()))
    torch.set_default_dtype(torch.float64)
    return {"iou": drawn}


def slow_draws(arm, seed, context):
    total = 0.0
    for _ in range(20):
        total += float(torch.rand(()))
        time.sleep(0.002)
    return {"iou": total}


def stumbles(arm, seed, context):
    """Report twice in one epoch, and a loss that is not finite; return views of one tensor."""
    context.report(1, 3, loss=float("nan"), rate=0.5)
    context.report(1, 3, iou=2.0)
    context.report(2, 3, loss=1.0)
    scores = torch.arange(12.0)
    return Outcome({"iou": 50.0}, values={"iou": scores[::2], "loss": scores[:6], "again": scores[:6]})


def broken():
    """Work of a process that cannot go on."""
    raise BrokenExecutor("its device is broken")


def dies_while_it_sends():
    """Work of a process that dies in the middle of its result."""

    def half(connection, data):
        os.write(connection.fileno(), data[: len(data) // 2])
        os._exit(1)

    Connection._send = half
    return "a result"
