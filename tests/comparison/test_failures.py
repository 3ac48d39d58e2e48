"""What goes wrong in a comparison: runs that fail, workers that die, drivers that meet, folders that are full."""

import dataclasses
import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from saam.comparison import Metric, Plan, TaskPlan, compare, dispatch, driver, job, load_comparison, store
from saam.comparison.records import FailureRecord
from saam.comparison.store import state_file
from saam.training import Recipe

# What workers import: a training function and a network that kill their process.
KILLERS = """
import os
from pathlib import Path
import torch
from torch import nn

def die():
    os.kill(os.getpid(), 9)

def task(arm, seed, context):
    if arm == "se":
        die()
    return {"score": 1.0}

class Net(nn.Module):
    # it kills its process once, in the third epoch

    def __init__(self, num_classes):
        super().__init__()
        self.norm, self.fc, self.steps = nn.BatchNorm2d(3), nn.Linear(3, num_classes), 0

    def forward(self, x):
        self.steps += self.training
        once = Path(os.environ["SAAM_TEST_KILLED"])
        if self.steps > 2 * 3 + 1 and not once.exists():
            once.touch()
            die()
        return self.fc(self.norm(x).mean((2, 3)))
"""
SCORE = (Metric("score", "higher", spread=1.0, delta=1.0),)


@pytest.fixture
def at_once(monkeypatch):
    """Look at other drivers' work twenty times a second."""
    monkeypatch.setattr(dispatch, "_GLANCE", 0.05)


def fail_at(monkeypatch, *runs, error=None):
    """Let these runs fail, and give what lets them be again."""
    genuine = job.run

    def run(plan, arm, seed, **options):
        if (arm, seed) in runs:
            raise error or FloatingPointError("the training loss became nan")
        return genuine(plan, arm, seed, **options)

    monkeypatch.setattr(job, "run", run)
    return lambda: monkeypatch.setattr(job, "run", genuine)


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_a_run_that_fails_is_recorded_and_the_others_go_on(make_plan, ran, executor, tmp_path, monkeypatch):
    heal = fail_at(monkeypatch, ("se", 1))
    done = compare(make_plan(), tmp_path, executor=executor)
    assert [(record.arm, record.seed) for record in done.records] == [
        run for run in make_plan().schedule() if run != ("se", 1)
    ]
    (failure,) = done.failures
    assert (failure.arm, failure.seed) == ("se", 1)
    assert failure.error == "FloatingPointError: the training loss became nan"
    assert any(line.endswith(", in run") for line in failure.trace.splitlines())
    assert failure.environment["torch"] == str(torch.__version__)
    assert load_comparison(tmp_path).failures == done.failures
    assert f"failures/{failure.id}.json" in files(tmp_path)
    assert [entry[0] for entry in ran].count("costs") == 1

    heal()
    ran.clear()
    assert compare(make_plan(), tmp_path, executor=executor) == done  # nothing is repeated unasked
    assert ran == []
    again = compare(make_plan(), tmp_path, executor=executor, retry=True)
    assert ran == [("se", 1)]
    assert (len(again.records), again.failures) == (6, ())
    assert not any(name.startswith("failures/") for name in files(tmp_path))


def test_retry_repeats_nothing_that_is_finished_and_may_fail_again(make_plan, ran, executor, tmp_path, monkeypatch):
    fail_at(monkeypatch, ("se", 0))
    first = compare(make_plan(), tmp_path, executor=executor)
    ran.clear()
    assert compare(make_plan(), tmp_path, executor=executor, retry=True).records == first.records
    assert ran == []
    assert len(load_comparison(tmp_path).failures) == 1


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ("RuntimeError: CUDA out of memory", True),
        ("ValueError: cannot decode an image", True),
        ("FloatingPointError: nan", False),
        ("DamagedStateError: states/0.pt is damaged", False),
    ],
)
def test_retry_goes_on_after_the_last_epoch_unless_that_would_fail_again(tmp_path, error, kept):
    failed = FailureRecord("0" * 16, "se", 0, error, "", {}, "")
    store.make_states(tmp_path)
    state = store.state_file(tmp_path, failed.id)
    state.touch()
    store.write_failure(tmp_path, failed)
    store.forget_failure(tmp_path, failed)
    assert state.exists() is kept
    assert not list((tmp_path / "failures").iterdir())


def test_a_run_whose_worker_has_a_broken_gpu_is_tried_again(make_plan, executor, tmp_path, monkeypatch):
    broken = ValueError("device 'cuda' cannot be used here (CUDA error: device-side assert triggered)")
    broken.__cause__ = torch.AcceleratorError("CUDA error: device-side assert triggered")
    answers = iter([broken, broken])
    asked = []

    def require_device(device):
        asked.append(device)
        if error := next(answers, None):
            raise error

    monkeypatch.setattr(job, "require_device", require_device)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    plan = make_plan(arms=("none",))
    done = compare(plan, tmp_path, executor=executor, costs=False, device="cpu")
    assert (len(done.records), done.failures) == (len(plan.seeds), ())
    assert asked == ["cpu"] * (len(plan.seeds) + 2)


def test_drivers_that_start_together_settle_on_one_precision(make_plan, ran, tmp_path, monkeypatch, at_once):
    measured = iter(["no", "bf16"])

    def slowly(plan, *, known, **_):
        precision = known or next(measured)
        time.sleep(0.2)
        return dataclasses.replace(plan, recipe=plan.recipe.replace(precision=precision))

    monkeypatch.setattr(driver, "with_precision", slowly)
    plan = make_plan(recipe=make_plan().recipe.replace(precision="auto"))

    def drive(_):
        with ThreadPoolExecutor(1) as own:
            return compare(plan, tmp_path, executor=own, costs=False)

    with ThreadPoolExecutor(2) as both:
        first, second = both.map(drive, range(2))
    assert first.plan == second.plan
    assert sorted(ran) == sorted(set(plan.schedule()))
    assert not (tmp_path / "leases").exists()


def test_a_damaged_state_fails_its_run_and_is_named(make_plan, executor, tmp_path):
    plan = make_plan(arms=("none",), seeds=(0, 1), recipe=Recipe(epochs=1, batch_size=60))
    fingerprint = driver.load_data(plan.data, **plan.data_options).fingerprint
    state = state_file(tmp_path, plan.run_id("none", 0, fingerprint=fingerprint))
    state.parent.mkdir()
    state.write_bytes(b"junk")
    done = compare(plan, tmp_path, executor=executor, costs=False)
    assert [record.seed for record in done.records] == [1]
    assert f"{state} is damaged: remove it to start anew" in done.failures[0].error
    assert len(compare(plan, tmp_path, executor=executor, costs=False, retry=True).records) == 2
    assert not state.parent.exists()


def test_nothing_but_results_is_left(make_plan, executor, tmp_path):
    compare(make_plan(seeds=(0,)), tmp_path, executor=executor, costs=False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["plan.json", "runs", "scores", "weights"]


def test_every_run_keeps_its_state_not_the_first_alone(make_plan, executor, tmp_path, monkeypatch):
    """The end of a run takes its own state away and leaves the folder to the others."""
    kept, genuine = [], job.run

    def run(plan, arm, seed, *, state, on_epoch, **options):
        def told(epoch):
            on_epoch(epoch)
            kept.append((seed, epoch.epoch, state.is_file(), state.with_suffix(".json").is_file()))

        return genuine(plan, arm, seed, state=state, on_epoch=told, **options)

    monkeypatch.setattr(job, "run", run)
    compare(make_plan(arms=("none",), seeds=(0, 1, 2)), tmp_path, executor=executor, costs=False)
    assert kept == [(seed, epoch, True, True) for seed in (0, 1, 2) for epoch in (1, 2)]


def test_two_drivers_share_the_work(make_plan, ran, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(driver, "Processes", ThreadPoolExecutor)
    genuine, done, told = job.run, {}, {0: [], 1: []}

    def run(*given, **options):
        time.sleep(0.2)
        return genuine(*given, **options)

    monkeypatch.setattr(job, "run", run)

    def drive(number):
        plan = make_plan(seeds=(0, 1, 2))
        done[number] = compare(plan, tmp_path, workers=1, costs=False, on_record=told[number].append)

    threads = [threading.Thread(target=drive, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ran) == sorted(make_plan(seeds=(0, 1, 2)).schedule())  # each once
    assert all(told.values())
    assert len(told[0]) + len(told[1]) == 9
    assert done[0].records == done[1].records == load_comparison(tmp_path).records
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["plan.json", "runs", "scores", "weights"]


def test_what_failed_elsewhere_is_not_waited_for(make_plan, ran, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(driver, "Processes", ThreadPoolExecutor)
    fail_at(monkeypatch, ("none", 0), ("se", 1))
    done = {}
    threads = [
        threading.Thread(
            target=lambda number=number: done.update({number: compare(make_plan(), tmp_path, workers=1, costs=False)})
        )
        for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done[0].failures == done[1].failures == load_comparison(tmp_path).failures
    assert [(failure.arm, failure.seed) for failure in done[0].failures] == [("none", 0), ("se", 1)]
    assert sorted(ran) == sorted(set(make_plan().schedule()) - {("none", 0), ("se", 1)})


def full(monkeypatch, place, number=errno.ENOSPC):
    """Let files of a folder fail as they reach the disk."""
    sync = os.fsync

    def fsync(file):
        if f"/{place}/" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(number, os.strerror(number))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(
    ("place", "number"),
    [("states", errno.ENOSPC), ("states", errno.EDQUOT), ("states", errno.EROFS), ("runs", errno.ENOSPC)],
)
def test_a_full_disk_stops_everything_with_one_line_and_spoils_nothing(
    make_plan, executor, tmp_path, monkeypatch, place, number
):
    plan = make_plan(arms=("none",), seeds=(0, 1), recipe=Recipe(epochs=1, batch_size=60))
    with monkeypatch.context() as patch:
        full(patch, place, number)
        reason = f"cannot write to {tmp_path} ({os.strerror(number)}): free some room or make it writable"
        with pytest.raises(OSError, match="what is finished is kept") as caught:
            compare(plan, tmp_path, executor=executor, costs=False)
        assert str(caught.value).startswith(reason)
        executor.submit(int).result()
    assert {Path(name).parts[0] for name in files(tmp_path)} <= {"plan.json", "states"}
    assert not list(tmp_path.rglob(".*"))
    assert not (tmp_path / "leases").exists()
    assert load_comparison(tmp_path).failures == ()
    assert len(compare(plan, tmp_path, executor=executor, costs=False).records) == 2


def test_a_disk_that_is_full_from_the_start(make_plan, ran, executor, tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"cannot write to .*No space left on device.*free some room"):
        compare(make_plan(), tmp_path, executor=executor)
    assert ran == []
    assert not files(tmp_path)


def test_a_folder_that_is_read_only(make_plan, ran, executor, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=rf"cannot write to {tmp_path} .*Read-only file system"):
        compare(make_plan(), tmp_path, executor=executor)
    assert ran == []
    assert not files(tmp_path)


def test_another_error_of_the_system_in_a_run_is_a_failure(make_plan, ran, executor, tmp_path, monkeypatch):
    fail_at(monkeypatch, ("se", 0), error=FileNotFoundError(errno.ENOENT, "gone", "image.png"))
    done = compare(make_plan(), tmp_path, executor=executor)
    assert "image.png" in done.failures[0].error
    assert len(done.records) == 5


def test_fp16_on_a_cpu_is_refused_before_anything_runs(make_plan, ran, executor, tmp_path):
    plan = make_plan(recipe=Recipe(epochs=1, precision="fp16"))
    with pytest.raises(ValueError, match="precision 'fp16' needs a GPU, got the CPU"):
        compare(plan, tmp_path / "out", executor=executor, device="cpu")
    assert ran == []
    assert not (tmp_path / "out").exists()


def test_fp16_on_the_gpus_of_workers_needs_no_gpu_here(make_plan, executor, tmp_path):
    plan = make_plan(recipe=Recipe(epochs=1, precision="fp16"), arms=("none",), seeds=(0,))
    (failure,) = compare(plan, tmp_path, executor=executor, device="cuda:63", costs=False).failures
    assert failure.error.startswith("ValueError: device 'cuda:63' cannot be used here")  # by this worker


@pytest.mark.parametrize("device", ["meta", "cupboard", ["cpu", "meta"]])
def test_a_device_that_is_not_there_is_refused_before_anything_runs(make_plan, ran, executor, tmp_path, device):
    with pytest.raises(ValueError, match=r"device '(meta|cupboard)' cannot be used here"):
        compare(make_plan(), tmp_path / "out", device=device)
    if device == "cupboard":
        with pytest.raises(ValueError, match="device 'cupboard' cannot be used here"):
            compare(make_plan(), tmp_path / "out", device=device, executor=executor)
    assert ran == []
    assert not (tmp_path / "out").exists()


@pytest.fixture
def killers(tmp_path, monkeypatch):
    (tmp_path / "killers.py").write_text(KILLERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SAAM_TEST_KILLED", str(tmp_path / "killed"))
    yield
    sys.modules.pop("killers", None)


def untimed(record):
    return dataclasses.replace(
        record, seconds=0.0, finished="", curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve)
    )


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_the_run_goes_on_from_its_state(killers, make_plan, executor, tmp_path):
    recipe = Recipe(epochs=5, batch_size=40)
    plan: Plan = make_plan(model="killers:Net", model_options={}, arms=("none",), recipe=recipe)
    seen = []

    def look(comparison):
        seen.extend((run.seed, run.epoch) for run in comparison.progress)

    died = compare(plan, tmp_path / "died", workers=1, costs=False, on_progress=look)
    assert (tmp_path / "killed").exists()
    assert (len(died.records), died.failures) == (2, ())
    whole = compare(plan, tmp_path / "whole", executor=executor, costs=False)
    assert [untimed(record) for record in died.records] == [untimed(record) for record in whole.records]
    for record in whole.records:
        for kind in ("weights", "scores"):
            name = f"{kind}/{record.id}.safetensors"
            assert (tmp_path / "died" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (0, 2) in seen  # two epochs were done, and not done again, while a new worker came
    assert (0, 1) not in seen[seen.index((0, 2)) :]


@pytest.mark.slow
def test_a_run_whose_worker_dies_three_times_failed(killers, tmp_path):
    plan = TaskPlan(task="killers:task", arms=("none", "se"), seeds=(0,), metrics=SCORE)
    done = compare(plan, tmp_path / "out", workers=1)
    assert [record.arm for record in done.records] == ["none"]
    (failure,) = done.failures
    assert failure.arm == "se"
    assert failure.error.startswith("its worker died 3 times (BrokenProcessPool: ")
    assert failure.error.endswith("is the memory full?")


@pytest.mark.slow
def test_workers_that_all_die_are_an_error_that_names_the_main_guard(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from saam.comparison import Metric, compare\n"
        "def task(arm, seed, context):\n"
        "    return {'score': 1.0}\n"
        "score = Metric('score', 'higher', spread=1.0, delta=1.0)\n"
        f"compare(task, out={str(tmp_path / 'out')!r}, metrics=[score], arms=['none'], seeds=1, workers=1)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: the run of arm 'none' with seed 0 failed: its worker died 3 times")
    assert last.endswith("Does a script lack 'if __name__ == \"__main__\":'?")
    assert not (tmp_path / "out" / "failures").exists()
    assert not (tmp_path / "out" / "leases").exists()
