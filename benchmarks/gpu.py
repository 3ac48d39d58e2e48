"""Are the fused operations right and fast on a GPU, and how many runs does one GPU train side by side?

    python benchmarks/gpu.py correctness    against float64, in all dtypes and both layouts
    python benchmarks/gpu.py modules        time of SAAM and SE: fused, eager and compiled
    python benchmarks/gpu.py runs           images a second of one, two, four ... runs on one GPU
    python benchmarks/gpu.py page           docs/benchmarks/gpu.md, from the records of the three

Each part takes less than ten minutes and leaves its records, a JSON file, in the folder --records. --quick does a
little of a part, and --device cpu tries it without a GPU. To look for invalid accesses to memory once:
compute-sanitizer python benchmarks/gpu.py correctness --quick

An error is the largest absolute difference of y, dx and the gradients of all parameters to those of eager PyTorch in
float64 on the CPU, in units of the largest absolute value there. It is wrong above rounding (1e-12 in float64, 5e-5 in
float32, 2e-2 in bfloat16, 2e-3 in float16) if it is also above twice the error of eager PyTorch on the GPU. Before,
torch.library.opcheck has checked both operations.

Contenders take turns, round by round, in one process; a time is the median over rounds of the time between two events
on the GPU, around as many calls as take ten milliseconds, over their number. So it includes the gaps in which the GPU
waits for the next kernel. "timm" is timm's SEModule (rd_ratio 1/16), "train" is forward and backward. "compiled" is
torch.compile, for SAAM of its definition in eager PyTorch. "of the bound" is the time that memory traffic alone would
take, over the time of the fused SAAM, see benchmarks/fused.py.

The runs train a ResNet-20 as `saam compare` does: images on the GPU, cropped, flipped and normalised there, one process
for each run. Images are counted while all runs train; their first epoch, in which kernels are chosen, does not count.
"""

import argparse
import copy
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import saam
from fused import LAYOUTS, SHAPES, Bar, Eager, bar_table, compiled, contenders_for, inference, module_table, training
from saam._core.machine import processor
from saam._core.options import parse_options
from saam.comparison import Plan, RunRecord, compare
from saam.data import load_data
from saam.functional.fused import PIXEL
from saam.training import Recipe

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "gpu.md"
DTYPES = {"float64": 1e-12, "float32": 5e-5, "bfloat16": 2e-2, "float16": 2e-3}
"""dtype -> the error that rounding alone may make."""
ATTENTIONS = ("se", "cbam-channel", "srm", "saam", "saam,heads=4", "saam,scorer=channel", "saam,kernel_size=3")
SMALL_SHAPES = ((2, 16, 32, 32), (3, 32, 5, 9), (2, 64, 1, 1), (1, 48, 33, 17))
BATCH = 256
"""Of the shapes of ImageNet networks; those of CIFAR have the batch of benchmarks/fused.py."""
TURN = 0.01  # seconds
SIDE_BY_SIDE = (1, 2, 4, 8, 12)
ALONE = 20.0  # seconds that a run takes alone
BARS = (
    Bar("SAAM train", "geometric mean", 0.50),
    Bar("SAAM train / compiled SAAM", "worst", 1.00),
    Bar("of the bound, train", "largest map", 0.60),
)
Records = list[dict[str, Any]]


def correctness(device: torch.device, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the errors of the fused and the eager operations for every case."""
    torch.manual_seed(0)
    if device.type == "cuda":
        import saam.functional.fused.triton  # noqa: F401  registers the operations on CUDA
    check_operations(device)
    for dtype in DTYPES:
        for layout, memory_format in LAYOUTS.items():
            for shape in SMALL_SHAPES[:2] if quick else SMALL_SHAPES:
                for attention in ATTENTIONS:
                    errors = case(attention, shape, getattr(torch, dtype), memory_format, device)
                    yield {"dtype": dtype, "layout": layout, "shape": shape, "attention": attention, **errors}


def check_operations(device: torch.device) -> None:
    """Have torch check schema, shapes, autograd and graphs of the two operations, or raise what it finds."""
    x, weight, factor = (
        torch.randn(size, device=device, requires_grad=True) for size in ((2, 16, 5, 3), (4, 16), (2, 16))
    )
    torch.library.opcheck(torch.ops.saam.squeeze.default, (x, weight, PIXEL, 0.5, False))
    torch.library.opcheck(torch.ops.saam.rescale.default, (x, factor, None, None, False))


def case(
    attention: str, shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format, device: torch.device
) -> dict[str, float]:
    """Return backend -> error for one attention with random weights on one random map."""
    module = saam.create_attention(attention, shape[1])
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    module = module.to(dtype).eval()  # the reference gets the rounded values; statistics of two images are no test
    x, dy = (torch.randn(shape).to(dtype).contiguous(memory_format=memory_format) for _ in range(2))
    expected = results(copy.deepcopy(module).double(), x.double(), dy.double(), "eager")
    module = module.to(device)
    errors = {}
    for backend in ("fused", "eager"):
        found = results(module, x.to(device), dy.to(device), backend)
        distances = [
            (ours.cpu().double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)
            for ours, theirs in zip(found, expected, strict=True)
        ]
        errors[backend] = float(torch.stack(distances).max())  # NaN if one is
    return errors


def results(module: nn.Module, x: Tensor, dy: Tensor, backend: Any) -> list[Tensor]:
    """Return y, dx and the gradients of the parameters."""
    x = x.detach().requires_grad_()
    with saam.use_backend(backend):
        y = module(x)
        return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], dy)]


def modules(device: torch.device, *, quick: bool, dtype: str) -> Iterator[dict[str, Any]]:
    """Yield the milliseconds of every contender for each map."""
    for layout, memory_format in LAYOUTS.items():
        for shape in SHAPES[:1] if quick else SHAPES:
            batch = 2 if quick else shape[0] if shape[2] <= 32 and shape[0] > 16 else BATCH
            full = (batch, *shape[1:])
            times = module_times(full, getattr(torch, dtype), memory_format, device, rounds=2 if quick else 11)
            yield {"dtype": dtype, "layout": layout, "shape": full, "milliseconds": times}


def module_times(
    shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format, device: torch.device, rounds: int
) -> dict[str, float]:
    """Return contender -> milliseconds for one map."""
    torch._dynamo.reset()
    x, dy = (torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=memory_format) for _ in range(2))
    x.requires_grad_()
    plain = {name: module.to(device, dtype) for name, module in contenders_for(shape[1]).items()}
    works = (("train", lambda module: training(module, x, dy)), ("inference", lambda module: inference(module, x)))
    contenders: dict[str, Callable[[], object]] = {"new": dy.clone, "copy": lambda: there.copy_(dy)}
    there = torch.empty_like(dy)
    for work, call in works:
        contenders[f"timm {work}"] = call(plain["timm"])
        contenders[f"compiled timm {work}"] = call(compiled(copy.deepcopy(plain["timm"])))
        contenders[f"compiled SAAM {work}"] = call(compiled(Eager(copy.deepcopy(plain["SAAM"]))))
        for name in ("SAAM", "SE"):
            contenders[f"{name} {work}"] = saam.use_backend("fused")(call(plain[name]))
            contenders[f"eager {name} {work}"] = saam.use_backend("eager")(call(plain[name]))
    return {name: 1e3 * value for name, value in medians(contenders, rounds, device).items()}


def medians(contenders: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of a call of each contender."""
    calls = {}
    for name, run in contenders.items():
        for _ in range(3):  # compile, and fill the allocator's cache
            run()
        calls[name] = max(1, round(TURN / seconds(run, 1, device)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(seconds(contenders[name], calls[name], device))
    return {name: median(values) for name, values in times.items()}


def seconds(run: Callable[[], object], calls: int, device: torch.device) -> float:
    """Return the seconds of a call: between two events on a GPU, by the clock elsewhere."""
    if device.type != "cuda":
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - begin) / calls
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / calls


def runs(device: torch.device, *, quick: bool, data: str) -> Iterator[dict[str, Any]]:
    """Yield the images a second of several runs side by side, each in a process of its own."""
    name, options = parse_options(data)
    images, epochs = len(load_data(name, **options).train), 40 if quick else 8
    for count in SIDE_BY_SIDE[:2] if quick else SIDE_BY_SIDE:
        plan = Plan(
            recipe=Recipe(epochs=epochs, batch_size=128, learning_rate=0.01, channels_last=True),
            arms=("none",),
            seeds=tuple(range(count)),
            model="resnet8" if quick else "resnet20",
            data=name,
            data_options=options,
        )
        with tempfile.TemporaryDirectory() as out:
            records = compare(plan, out, workers=count, device=str(device), costs=False).records
        if len(records) < count:
            raise RuntimeError(f"only {len(records)} of {count} runs side by side finished")
        rate = images * epochs_a_second([spans(record)[1:] for record in records])
        yield {"runs": count, "images a second": rate}
        if not quick and count == 1:
            epochs = max(epochs, ceil(ALONE * rate / images))


def spans(record: RunRecord) -> list[tuple[float, float]]:
    """Return begin and end of each epoch of a run, in seconds, reckoned back from its end."""
    end = datetime.fromisoformat(record.finished).timestamp()
    ends = [end - sum(epoch["seconds"] for epoch in record.curve[i + 1 :]) for i in range(len(record.curve))]
    return [(end - epoch["seconds"], end) for epoch, end in zip(record.curve, ends, strict=True)]


def epochs_a_second(runs: list[list[tuple[float, float]]]) -> float:
    """Return the epochs a second of all runs together, while all of them train."""
    begin, end = max(run[0][0] for run in runs), min(run[-1][1] for run in runs)
    if end <= begin:
        raise RuntimeError("the runs did not train at the same time: take data with more images")
    shares = (max(0.0, min(end, stop) - max(begin, start)) / (stop - start) for run in runs for start, stop in run)
    return sum(shares) / (end - begin)


def page(folder: Path) -> str:
    """Return the page, from the records of all parts."""
    parts = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("correctness", "modules", "runs")}
    circumstances = dict.fromkeys(
        f"- {title}: {value}" for part in parts.values() for title, value in part["circumstances"].items()
    )
    rows = {
        dtype: {(tuple(r["shape"]), r["layout"]): columns(r["milliseconds"]) for r in found}
        for dtype, found in grouped(parts["modules"]["records"]).items()
    }
    sections = ["# On a GPU", __doc__.split("\n\n", 3)[3].strip(), "\n".join(circumstances)]
    sections += ["## Are the fused operations right?", error_table(parts["correctness"]["records"])]
    for dtype, table in rows.items():
        sections += [f"## Time of a module, {dtype}", bar_table(table, BARS), module_table(table)]
    sections += ["## Several runs on one GPU", run_table(parts["runs"]["records"])]
    return "\n\n".join(sections) + "\n"


def grouped(records: Records) -> dict[str, Records]:
    """Return dtype -> its records."""
    return {dtype: [r for r in records if r["dtype"] == dtype] for dtype in dict.fromkeys(r["dtype"] for r in records)}


def columns(t: dict[str, float]) -> dict[str, float]:
    """Return what the table shows of a map's milliseconds."""
    row = {"timm train, ms": t["timm train"], "timm inference, ms": t["timm inference"]}
    for work in ("train", "inference"):
        row |= {f"{name} {work}": t[f"{name} {work}"] / t[f"timm {work}"] for name in ("SAAM", "SE", "compiled SAAM")}
        row[f"SAAM {work} / compiled SAAM"] = t[f"SAAM {work}"] / t[f"compiled SAAM {work}"]
        row[f"SAAM {work} / eager SAAM"] = t[f"SAAM {work}"] / t[f"eager SAAM {work}"]
    row["of the bound, train"] = (2 * t["new"] + 2 * t["copy"]) / t["SAAM train"]
    row["of the bound, inference"] = (t["new"] + t["copy"] / 2) / t["SAAM inference"]
    return row


def error_table(records: Records) -> str:
    """Return the largest errors of each dtype; wrong is what is above rounding and twice the eager error."""
    lines = ["| dtype | cases | fused | eager | right |", "|---|---:|---:|---:|---|"]
    for dtype, found in grouped(records).items():
        wrong = [r for r in found if not r["fused"] <= max(DTYPES[dtype], 2 * r["eager"])]
        said = "yes" if not wrong else f"**no**: {len(wrong)}, {wrong[0]['attention']} on {tuple(wrong[0]['shape'])}"
        worst = (f"{max(r[backend] for r in found):.1e}" for backend in ("fused", "eager"))
        lines.append(f"| {dtype} | {len(found)} | {' | '.join(worst)} | {said} |")
    return "\n".join(lines)


def run_table(records: Records) -> str:
    """Return the throughput of each number of runs."""
    one = records[0]["images a second"]
    lines = ["| runs side by side | images a second | times one run |", "|---:|---:|---:|"]
    for each in records:
        rate = each["images a second"]
        lines.append(f"| {each['runs']} | {rate:,.0f} | {rate / one:.2f} |")
    return "\n".join(lines)


def circumstances(device: torch.device) -> dict[str, str]:
    """Return the machine and the versions."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {
        "GPU": gpu,
        "processor": f"{processor()}; {platform.platform()}",
        "versions": f"saam {saam.__version__}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def main() -> None:
    """Measure one part, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("correctness", "modules", "runs", "page"))
    parser.add_argument("--records", type=Path, default=Path("gpu-records"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"), help="of the maps that are timed")
    parser.add_argument("--data", default="photo-digits", help="of the runs")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.part == "page":
        PAGE.write_text(page(options.records))
        print(f"wrote {PAGE}")
        return
    device, quick = torch.device(options.device), options.quick
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --quick tries the script")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # events and Triton use the current device
    found: Records = []
    file = options.records / f"{options.part}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    if options.part == "correctness":
        source = correctness(device, quick=quick)
    elif options.part == "modules":
        source = (row for dtype in options.dtypes for row in modules(device, quick=quick, dtype=dtype))
    else:
        source = runs(device, quick=quick, data=options.data)
    for record in source:
        found.append(record)
        print(json.dumps(record), flush=True)
        content = {"circumstances": circumstances(device), "records": found}
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
