"""What does saam's training cost beside the network? Loop, augmentation, workers, start and memory.

    python benchmarks/harness.py --data parquet:PATH         all, written to docs/benchmarks/harness.md
    python benchmarks/harness.py --data parquet:PATH --quick loop augmentation        some, a few rounds, printed

The network is a ResNet-20 with batches of 128 images, float32 and channels_last, one thread. Contenders take turns, and
a ratio is taken within a round; given are the median over the rounds and, in brackets, the quartiles. Times of one
process are processor times, so that what else runs on the machine counts little; what several processes do side by side
is timed by the clock, and beside it stands what their processor times give.

- loop: an epoch of `saam.training.train`, with data, augmentation and metrics, over as many bare steps (forward,
  backward, SGD of torch) on a batch that is there. Validation is left out.
- augmentation: images a second that are cropped, flipped and normalised in batches, over torchvision's transforms,
  image by image.
- timm: images a second over the loop of timm's train.py, written out: its loader with its own crop and flip, its
  prefetcher, optimizer, schedule and meters, on the same images in memory, without and with worker processes.
- workers: runs in an hour with two workers over those with one. A run takes some steps and scores the test images.
- start: from the call until the first step of a worker is done: process, imports, data from the cache folder, network.
- memory: of a worker after some steps and the scoring; PSS counts pages that processes share in proportion.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from page import command, machine, ratios, spread, versions, write_page
from saam.comparison import Job, Plan
from saam.comparison.job import work
from saam.comparison.network import build_model
from saam.data import Batches, Images, Splits, load_data, train_batches
from saam.executors import Processes
from saam.models import create_model
from saam.training import Group, Recipe, Stepper, score_images, train

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "harness.md"
BATCH, STEPS = 128, 10
RECIPE = Recipe(epochs=1, batch_size=BATCH, learning_rate=0.01, nesterov=True, channels_last=True)
CPU = torch.device("cpu")
Line = tuple[str, str, str, str]  # what, measured, bar, met


class Timed:
    """Batches whose epochs are timed: from the first request until the loop asks for more than there are."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.seconds = batches, 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the batches of an epoch, and note how long all of it took."""
        start = time.process_time()
        yield from self.batches.epoch(epoch)
        self.seconds = time.process_time() - start


def network(classes: int) -> nn.Module:
    """Return the network of all measurements."""
    return create_model("resnet20", num_classes=classes, seed=0).to(memory_format=torch.channels_last)


def epoch_of_saam(splits: Splits, images: Images) -> Callable[[], float]:
    """Return what trains for an epoch on some images and gives its processor time."""
    model, seeds = network(len(splits.classes)), iter(range(10**6))
    x, y = next(iter(Batches(images, batch_size=2, mean=splits.mean, std=splits.std)))

    def run() -> float:
        timed = Timed(
            Batches(
                images,
                batch_size=BATCH,
                mean=splits.mean,
                std=splits.std,
                augmentation=("crop", "flip"),
                seed=next(seeds),
                shuffle=True,
            )
        )
        train(model, timed, [(x, y)], RECIPE, seed=0, device="cpu")
        return timed.seconds

    return run


def bare_steps(splits: Splits) -> Callable[[], float]:
    """Return what makes the steps of an epoch on one batch that is there, and gives their processor time."""
    model = network(len(splits.classes)).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    x, y = next(iter(train_batches(splits, batch_size=BATCH, seed=0)))
    x = x.to(memory_format=torch.channels_last)

    def run() -> float:
        start = time.process_time()
        for _ in range(STEPS):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.process_time() - start

    return run


def epoch_of_timm(splits: Splits, images: Images, workers: int) -> Callable[[], float]:
    """Return the loop of timm's train.py, from its training images to its meters, which gives its processor time.

    Its loader gets the images as torchvision's CIFAR10 has them: an array that each call makes a PIL image of.
    """
    from PIL import Image
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import AverageMeter

    class Photographs(torch.utils.data.Dataset):
        transform: Any = None
        target_transform = None

        def __init__(self) -> None:
            self.pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()
            self.targets = images.labels.tolist()

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]

    model = network(len(splits.classes)).train()
    loader = create_loader(
        Photographs(),
        input_size=(3, *images.shape),
        batch_size=BATCH,
        is_training=True,
        color_jitter=0.0,
        mean=splits.mean,
        std=splits.std,
        num_workers=workers,
        persistent_workers=workers > 0,
        device=CPU,
    )
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.01, weight_decay=5e-4, momentum=0.9)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=100, updates_per_epoch=len(loader))
    loss_of = nn.CrossEntropyLoss()

    def run() -> float:
        start = time.process_time() + children()
        losses, seconds, data_seconds = AverageMeter(), AverageMeter(), AverageMeter()
        begun = time.time()
        optimizer.zero_grad()
        for index, (x, y) in enumerate(loader):
            x = x.contiguous(memory_format=torch.channels_last)
            data_seconds.update(time.time() - begun)
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(x))
            optimizer.zero_grad()
            seconds.update(time.time() - begun)
            scheduler.step_update(num_updates=index + 1, metric=losses.avg)
            begun = time.time()
        return time.process_time() + children() - start

    return run


def children() -> float:
    """Return the processor time of the processes that this one started, dead or alive."""
    total = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, tick = total.ru_utime + total.ru_stime, os.sysconf("SC_CLK_TCK")
    for file in Path("/proc/self/task").glob("*/children"):  # of whichever thread
        for child in file.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / tick
    return seconds


def turns(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Warm all up, then let each have its turn in every round; return what they gave."""
    for run in contenders.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(contenders[name]())
    return found


def line(what: str, values: list[float], bar: float, *, least: bool, unit: str = "", digits: int = 3) -> Line:
    """Return a line of the table: the median must be at least, or at most, the bar."""
    met = median(values) >= bar if least else median(values) <= bar
    text = f"{spread(values, digits) if len(values) > 1 else f'{values[0]:.{digits}f}'}{unit}"
    return what, text, f"at {'least' if least else 'most'} {bar:g}{unit}", "yes" if met else "**no**"


def loop(splits: Splits, rounds: int) -> list[Line]:
    """Compare the training loop with bare steps."""
    images = part(splits)
    found = turns({"saam": epoch_of_saam(splits, images), "bare": bare_steps(splits)}, rounds)
    return [line("loop: over bare steps", ratios(found["saam"], found["bare"]), 1.03, least=False)]


def timm(splits: Splits, rounds: int) -> list[Line]:
    """Compare the training loop with that of timm."""
    images = part(splits)
    contenders = {
        "saam": epoch_of_saam(splits, images),
        "0 workers": epoch_of_timm(splits, images, 0),
        "1 worker": epoch_of_timm(splits, images, 1),
    }
    found = turns(contenders, rounds)
    best = min(list(contenders)[1:], key=lambda name: median(found[name]))
    return [line(f"timm: images a second, over timm with {best}", ratios(found[best], found["saam"]), 1.3, least=True)]


def augmentation(splits: Splits, rounds: int) -> list[Line]:
    """Compare augmentation of batches with that of torchvision, image by image."""
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import v2

    images = part(splits)
    pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()
    side = images.shape[0]
    of_torchvision = {
        "transforms": transforms.Compose(
            [
                transforms.RandomCrop(side, padding=side // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(splits.mean, splits.std),
            ]
        ),
        "transforms.v2": v2.Compose(
            [
                v2.RandomCrop(side, padding=side // 8),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(splits.mean, splits.std),
            ]
        ),
    }
    batches = Batches(
        images,
        batch_size=BATCH,
        mean=splits.mean,
        std=splits.std,
        augmentation=("crop", "flip"),
        shuffle=True,
    )

    def batched() -> float:
        start = time.process_time()
        for _ in range(5):
            for _ in batches.epoch(0):
                pass
        return (time.process_time() - start) / 5

    def one_by_one(transform: Callable[[Any], Tensor]) -> float:
        start = time.process_time()
        for chunk in torch.randperm(len(pixels)).split(BATCH):
            torch.stack([transform(Image.fromarray(pixels[i])) for i in chunk.tolist()])
        return time.process_time() - start

    rivals = {name: (lambda transform=transform: one_by_one(transform)) for name, transform in of_torchvision.items()}
    found = turns({"saam": batched, **rivals}, rounds)
    best = min(rivals, key=lambda name: median(found[name]))
    gain = ratios(found[best], found["saam"])
    return [line(f"augmentation: images a second, over torchvision.{best}", gain, 8, least=True, digits=1)]


def workers(data: str, rounds: int) -> list[Line]:
    """Compare two workers with one, which do the same runs."""
    plan = Plan(
        recipe=RECIPE,
        arms=("none", "se"),
        seeds=tuple(range(100)),
        model="resnet20",
        data=data,
        data_options={"limit": 2 * STEPS * BATCH},
    )
    rates: dict[int, list[float]] = {1: [], 2: []}
    loads: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count in rates:
            with Processes(count) as pool:
                wait([pool.submit(work, Job(plan, "none", 99 - each, "", 1, "cpu")) for each in range(count)])
                start, load = time.perf_counter(), children()
                done = [pool.submit(work, Job(plan, "none", seed, "", 1, "cpu")) for seed in range(4)]
                for each in done:
                    each.result().record  # noqa: B018 - a failure has none
                rates[count].append(4 / (time.perf_counter() - start))
                loads[count].append((children() - load) / 4)
    if rounds == 1:
        rates, loads = ({count: 2 * values for count, values in each.items()} for each in (rates, loads))
    return [
        line("workers: runs an hour of two, over one, by the clock", ratios(rates[2], rates[1]), 1.9, least=True),
        line(
            "workers: the same, by processor time (two processors free for them)",
            [2 * ratio for ratio in ratios(loads[1], loads[2])],
            1.9,
            least=True,
        ),
    ]


def first_step(plan: Plan, begun: float) -> dict[str, float]:
    """Do what a worker does up to its first step, then some more, and return times and memory."""
    torch.set_num_threads(1)
    splits = load_data(plan.data, **plan.data_options)
    model = build_model(plan, "saam", seed=0, classes=len(splits.classes))
    stepper = Stepper(model.train(), plan.recipe, Group(0, 1, CPU))
    batches = train_batches(splits, batch_size=BATCH, seed=0)
    for index, (x, y) in enumerate(batches):
        stepper.step(x, y, 0.5)
        if index == 0:
            clock, processor = time.time() - begun, time.process_time()
        if index == STEPS:
            break
    test = Images(splits.test.images[: STEPS * BATCH], splits.test.labels[: STEPS * BATCH])
    score_images(model, Batches(test, batch_size=BATCH, mean=splits.mean, std=splits.std))
    kinds = {"Rss": 0.0, "Pss": 0.0}
    for entry in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = entry.partition(":")
        if name in kinds:
            kinds[name] = int(rest.split()[0]) / 1e6
    return {"clock": clock, "processor": processor, **kinds}


def start(data: str, rounds: int) -> list[Line]:
    """Measure how soon workers begin, and how much memory two of them hold."""
    plan = Plan(recipe=RECIPE, arms=("none", "saam"), seeds=(0,), model="resnet20", data=data)
    alone: list[dict[str, float]] = []
    both: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        with Processes(1) as pool:
            found = pool.submit(first_step, plan, time.time()).result()
        alone += [found] * bool(turn)  # the first one fills the cache folder, and is left out
    for _ in range(max(1, rounds // 2)):
        with Processes(2) as pool:
            both += [future.result() for future in [pool.submit(first_step, plan, time.time()) for _ in range(2)]]
    return [
        line("start: seconds to the first step, by the clock", [each["clock"] for each in alone], 3, least=False),
        line("start: the same, processor time", [each["processor"] for each in alone], 3, least=False),
        line("memory: PSS of each of two workers, GB", [each["Pss"] for each in both], 1, least=False),
        line("memory: RSS of a worker, GB", [each["Rss"] for each in alone], 1, least=False),
    ]


def part(splits: Splits) -> Images:
    """Return as many train images as an epoch of the measurements has."""
    chosen = next(iter(splits.train.read([torch.arange(STEPS * BATCH)])))
    return Images(chosen, splits.train.labels[: STEPS * BATCH])


MEASUREMENTS: dict[str, Callable[..., list[Line]]] = {
    "loop": loop,
    "augmentation": augmentation,
    "timm": timm,
    "workers": workers,
    "start": start,
}
OF_WORKERS = ("workers", "start")


def main() -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", default=[], help=f"what to measure: {', '.join(MEASUREMENTS)}; default: all"
    )
    parser.add_argument("--data", default="cifar10", help="data set of 32x32 images, as saam takes it")
    parser.add_argument("--quick", action="store_true", help="two rounds, printed")
    parser.add_argument("--rounds", type=int, default=11, help="of loop, augmentation and timm; a third for workers")
    parser.add_argument("--out", type=Path, help=f"default: {PAGE.relative_to(PAGE.parents[2])}; with --quick: printed")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"unknown measurement {', '.join(sorted(unknown))}: known are {', '.join(MEASUREMENTS)}")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rounds = 2 if options.quick else options.rounds
    splits = load_data(options.data)
    lines: list[Line] = []
    for name in options.names or MEASUREMENTS:
        of_workers = name in OF_WORKERS
        lines += MEASUREMENTS[name](
            options.data if of_workers else splits, max(1, rounds // 3) if of_workers else rounds
        )
        print(*lines[-4:], sep="\n", file=sys.stderr)
    facts = {
        "machine": machine(1),
        "versions": versions(),
        "data": f"{splits.label}, {len(splits.train):,} train images",
        "date": f"{datetime.now(UTC):%Y-%m-%d}; {rounds} rounds, {max(1, rounds // 3)} of workers; load "
        f"{os.getloadavg()[1]:.1f} at the end",
        "command": command().replace(options.data, "DATA"),
    }
    table = "| what | measured | bar | met |\n|---|---:|---:|---|\n" + "\n".join(
        f"| {' | '.join(each)} |" for each in lines
    )
    out = options.out or (None if options.quick else PAGE)
    write_page(out, "What training costs beside the network", "\n\n".join(__doc__.split("\n\n")[2:]), facts, table)


if __name__ == "__main__":
    main()
