"""Comparisons in worker processes: interrupted, and killed at random, they end as one that nobody touched."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from saam.comparison import compare, load_comparison
from saam.comparison.plan_file import load_plan

KILLS = 6
COMMAND = (
    *("compare", "--data", "photo-digits,train=300,validation=40,test=40", "--model", "resnet8,width=4,stem_stride=2"),
    *("--recipe", "quick,epochs=5,batch_size=10", "--arms", "none", "saam", "--seeds", "2"),
    *("--no-costs", "--workers", "2"),
)


def timeless(comparison):
    """The records without what a clock or a machine's load decides."""
    return [
        dataclasses.replace(
            record, seconds=0.0, finished="", curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve)
        )
        for record in comparison.records
    ]


def results(out: Path) -> dict[str, object]:
    """All results of a folder, without times."""
    found: dict[str, object] = {}
    for file in sorted((out / "runs").iterdir()):
        record = json.loads(file.read_text())
        for entry in (record, *record["curve"]):
            entry.pop("seconds")
        record.pop("finished")
        found[file.name] = record
    for folder in ("weights", "scores"):
        found |= {f"{folder}/{file.name}": file.read_bytes() for file in (out / folder).iterdir()}
    return found


def start(out: Path) -> subprocess.Popen[bytes]:
    main = "import sys; from saam.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", main, *COMMAND, "--out", str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def workers(driver: int) -> list[int]:
    """Processes that a driver started, without the tracker of its semaphores."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == driver:
                command = (stat.parent / "cmdline").read_bytes()
                found += [int(stat.parent.name)] if b"spawn_main" in command else []
    return found


def wait_for(condition, seconds: float = 90.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.slow
def test_a_comparison_killed_at_random_ends_as_one_that_was_not(executor, tmp_path: Path) -> None:
    whole, killed, draw = tmp_path / "whole", tmp_path / "killed", random.Random(0)

    def went_on(before: set[tuple[str, int]]) -> bool:
        """Whether a state or a record has come since, so that every kill meets another moment of the work."""
        return bool(seen() - before)

    def seen() -> set[tuple[str, int]]:
        found = set()
        for path in (*killed.glob("states/*.pt"), *killed.glob("runs/*.json")):
            with contextlib.suppress(OSError):
                found.add((path.name, path.stat().st_mtime_ns))
        return found

    hit: list[str] = []
    while len(hit) < KILLS:
        with start(killed) as driver:
            try:
                before = seen()
                while len(hit) < KILLS and driver.poll() is None:
                    if not wait_for(lambda: went_on(before) or driver.poll() is not None):  # noqa: B023
                        pytest.fail("nothing goes on")
                    time.sleep(draw.uniform(0, 0.3))
                    victims = workers(driver.pid)
                    if len(hit) % 2 and victims:
                        os.kill(draw.choice(victims), signal.SIGKILL)
                        hit.append("worker")
                        before = seen()
                        continue
                    driver.kill()
                    hit.append("driver")
                    break
            finally:
                driver.kill()
        if len(list(killed.glob("runs/*.json"))) == 4:
            break  # a fast machine; what was met must do
    assert len(hit) >= KILLS // 2
    plan = load_plan(killed)
    for out in (killed, whole):
        assert len(compare(plan, out, executor=executor, costs=False).records) == 4
    assert results(killed) == results(whole)
    assert len(results(whole)) == 3 * 4
    left = sorted(str(path.relative_to(killed)) for path in killed.rglob("*") if path.is_file())
    expected = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    assert left == expected


@pytest.mark.slow
def test_a_comparison_in_processes_gives_the_records_of_one_run_after_the_other(make_plan, tmp_path):
    """Two workers, killed after the first run and resumed, against a single thread of this process."""
    plan = make_plan(arms=("none", "saam"))

    def kill(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(plan, tmp_path / "two", workers=2, costs=False, on_record=kill)
    assert len(load_comparison(tmp_path / "two").records) == 1
    two = compare(plan, tmp_path / "two", workers=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1) as executor:
            one = compare(plan, tmp_path / "one", executor=executor, costs=False)
    finally:
        torch.set_num_threads(threads)
    assert timeless(two) == timeless(one)
    assert [record.arm for record in two.records] == ["none", "saam", "none", "saam"]
    assert len({record.test["loss"] for record in two.records}) == 4
    plain, saam = two.costs
    assert (plain.arm, saam.arm, plain.batch_size, plain.image_size) == ("none", "saam", 40, (32, 32))
    assert saam.extra_parameters == two.records[1].parameters - two.records[0].parameters > 0
    assert saam.train_step_ms > 0
