"""Every file of a comparison, damaged in every way that a few hundred mutations find: one clear line each, at once."""

import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save as to_bytes

from mutations import mutate
from saam.comparison import ACCURACY, LOSS, Comparison, Plan, load_comparison, load_model
from saam.comparison.network import build_model
from saam.comparison.plan_file import write_plan
from saam.comparison.records import CostRecord, Finished
from saam.comparison.store import read_values, write_costs, write_run
from saam.report import table, verdicts
from saam.report.charts import _by_epoch, charts
from saam.report.command import command
from saam.report.overview import overview
from saam.report.use import GATES, SCORES, delivered, use_by_epoch

MUTATIONS = 600
SECONDS = 1.0  # for one of them, on a busy machine

CURVE = tuple(
    {
        "epoch": epoch,
        "learning_rate": 0.1,
        "train_loss": 2.0 / epoch,
        "train_accuracy": 50.0,
        "validation_loss": 2.1 / epoch,
        "validation_accuracy": 48.0,
        "seconds": 1.0,
        "observed": {"score_use": {"layer1.0.bn2": {"share": 0.5, "lift": 3.0}}},
    }
    for epoch in (1, 2, 3)
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Contents of a folder with a finished comparison of two arms and three seeds, by path."""
    from saam.comparison.records import RunRecord
    from saam.training import Recipe

    out = tmp_path_factory.mktemp("whole")
    recipe = Recipe(epochs=3, batch_size=40)
    options = {"width": 2, "stem_stride": 4}
    plan = Plan(recipe=recipe, arms=("none", "saam"), seeds=(0, 1, 2), model_options=options)
    ids = {run: plan.run_id(*run, fingerprint="x") for run in plan.schedule()}
    write_plan(out, plan, classes=10, runs=list(ids.values()), costs="cost")
    for (arm, seed), run_id in ids.items():
        scores = {"accuracy": 80.0 + seed + (arm == "saam"), "loss": 0.5, "count": 100}
        record = RunRecord(
            id=run_id,
            arm=arm,
            model="resnet8",
            model_options=options,
            data="photo-digits",
            data_options={},
            recipe=recipe.to_dict(),
            where="residual",
            start="identity",
            seed=seed,
            test=scores,
            validation=dict(scores),
            curve=CURVE,
            parameters=100,
            seconds=3.0,
            environment={"saam": "0.1.0", "threads": 1},
            finished="2026-01-01T00:00:00+00:00",
        )
        weights = to_bytes(build_model(plan, arm, seed=seed, classes=10).state_dict())
        images = {"loss": torch.full((100,), 0.5).half(), "accuracy": 100 * (torch.arange(100) < 80).half()}
        write_run(out, Finished(record, weights, to_bytes(images)))
    cost = CostRecord("none", 9, 0, 9, 1.0, 1.0, 0.1, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 8, (32, 32), 1, "cpu")
    write_costs(out, [cost], "cost")
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def look(comparison: Comparison) -> None:
    """What a report makes of a comparison, but for the drawing itself, which takes too long for hundreds of them."""
    overview(comparison)
    for name, metric in (("validation_accuracy", ACCURACY), ("validation_loss", LOSS), ("train_loss", LOSS)):
        _by_epoch([record.curve for record in comparison.records], name, metric)
    for kind in (SCORES, GATES):
        use_by_epoch(comparison.records, kind)
        delivered(comparison.records, kind)
    command(comparison.plan)


def draw_all(comparison: Comparison) -> None:
    """All that is printed and drawn of a comparison."""
    Console(width=100, file=io.StringIO()).print(table(comparison))
    verdicts(comparison)
    charts(overview(comparison), comparison.records)


def check(files: dict[str, bytes], name: str, content: bytes, folder: Path, read: Callable[[], object]) -> bool:
    """Read a folder in which one file has other content; return whether that was refused.

    Whatever is wrong must be one line that names the file, and come at once.
    """
    (folder / name).write_bytes(content)
    start = time.process_time()
    try:
        read()
    except (ValueError, FileNotFoundError) as error:
        assert Path(name).name in str(error) or "plan.json" in str(error), f"{name}: {error}"  # noqa: PT017
        assert len(str(error)) < 2000, f"{name}: {str(error)[:300]}"  # noqa: PT017
        return True
    finally:
        assert time.process_time() - start < SECONDS, content[:2000]
        (folder / name).write_bytes(files[name])
    return False


def laid_out(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_whole_folder_is_read(whole, tmp_path: Path) -> None:
    comparison = load_comparison(laid_out(whole, tmp_path))
    assert len(comparison.records) == 6
    assert len(comparison.costs) == 1
    look(comparison)
    draw_all(comparison)
    assert isinstance(load_model(tmp_path, "saam", 2), torch.nn.Module)


@pytest.mark.parametrize("kind", ["plan.json", "costs.json", "runs"])
def test_json_files(whole, tmp_path: Path, kind: str) -> None:
    folder = laid_out(whole, tmp_path)
    name = next(name for name in sorted(whole) if name.startswith(kind))
    draw, refused = random.Random(kind), 0
    for _ in range(MUTATIONS // 3):
        content = mutate(whole[name], draw)
        refused += check(whole, name, content, folder, lambda: look(load_comparison(folder)))
    assert refused > MUTATIONS // 10


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(arm="eca"),
        lambda record: record.update(seed=7),
        lambda record: record["test"].update(count=0),
        lambda record: record["test"].update(count=True),
        lambda record: record["validation"].update(count=-5),
        lambda record: record["test"].update(accuracy=101),
        lambda record: record["test"].update(accuracy=10**400),
        lambda record: record["test"].update(loss=1e300),
        lambda record: record.update(parameters=-1),
        lambda record: record.update(seconds=10**400),
        lambda record: record.update(seconds=float("nan")),
        lambda record: record["curve"][0].update(epoch="1"),
        lambda record: record["curve"][0].update(epoch=10**12),
        lambda record: record["curve"][1].update(epoch=1),
        lambda record: record["curve"][0].update(train_loss="low"),
        lambda record: record["curve"][0].update(validation_loss=[1]),
        lambda record: record["curve"][0].update(observed=[1]),
        lambda record: record["curve"][0].update(observed={"score_use": {"x": {"share": "y"}}}),
        lambda record: record["curve"].append(3),
        lambda record: record["curve"][0].pop("epoch"),
        lambda record: record["environment"].update(threads=[1]),
        lambda record: record.update(model="\ud800"),
    ],
)
def test_records_that_would_crash_a_report(whole, tmp_path: Path, change) -> None:
    folder = laid_out(whole, tmp_path)
    name = next(name for name in sorted(whole) if name.startswith("runs"))
    record = json.loads(whole[name])
    change(record)
    assert check(whole, name, json.dumps(record).encode(), folder, lambda: load_comparison(folder))


def test_records_without_what_was_observed_are_read(whole, tmp_path: Path) -> None:
    folder = laid_out(whole, tmp_path)
    name = next(name for name in sorted(whole) if name.startswith("runs"))
    record = json.loads(whole[name])
    for epoch in record["curve"]:
        del epoch["observed"]
    assert not check(whole, name, json.dumps(record).encode(), folder, lambda: look(load_comparison(folder)))


@pytest.mark.parametrize("classes", [0, -3, True, 10**12, "10"])
def test_numbers_of_classes(whole, tmp_path: Path, classes: object) -> None:
    content = json.dumps({**json.loads(whole["plan.json"]), "classes": classes}).encode()
    folder = laid_out(whole, tmp_path)
    assert check(whole, "plan.json", content, folder, lambda: look(load_comparison(folder)))


@pytest.mark.parametrize("kind", ["weights", "scores"])
def test_tensors(whole, tmp_path: Path, kind: str) -> None:
    folder = laid_out(whole, tmp_path)
    run_id = json.loads(whole["plan.json"])["runs"][0]
    name = f"{kind}/{run_id}.safetensors"

    def read() -> None:
        if kind == "weights":
            load_model(folder, "none", 0)
        else:
            read_values(folder, run_id)

    read()
    draw = random.Random(0)
    header = 8 + int.from_bytes(whole[name][:8], "little")
    for _ in range(30):
        content = bytearray(whole[name])
        content[draw.randrange(header)] = draw.randrange(256)
        cut = draw.choice([len(content), draw.randrange(len(content))])
        check(whole, name, bytes(content[:cut]), folder, read)
    for content in (b"", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04" * 10):
        assert check(whole, name, content, folder, read)
