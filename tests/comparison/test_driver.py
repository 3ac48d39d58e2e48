import dataclasses
import json
import re
import threading
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
import torch
from torch import nn

from comparison.fakes import scores_of
from saam.comparison import PLAIN, compare, costs, dispatch, driver, job, load_comparison, load_model
from saam.comparison.driver import drive
from saam.comparison.plan_run import Run
from saam.comparison.records import RunRecord
from saam.comparison.store import read_values
from saam.executors import processes
from saam.training import Recipe


def timeless(comparison):
    return [(record.id, record.arm, record.seed, record.test) for record in comparison.records]


def test_every_arm_runs_with_every_seed_seed_by_seed_before_the_costs(make_plan, ran, executor, tmp_path):
    plan = make_plan(arms=("se", "saam"), seeds=(3, 1))
    comparison = compare(plan, tmp_path / "new" / "out", executor=executor)
    *runs, measured = ran
    assert measured[:2] == ("costs", (PLAIN, "se", "saam"))
    assert measured[2] == {"image_size": (32, 32), "threads": 1, "device": None}
    assert runs == [("se", 3), ("saam", 3), ("se", 1), ("saam", 1)]
    assert [(record.arm, record.seed) for record in comparison.records] == runs
    assert [cost.arm for cost in comparison.costs] == [PLAIN, "se", "saam"]
    assert comparison.plan == plan


def test_the_folder_holds_plan_records_weights_and_costs_and_nothing_else(make_plan, ran, executor, tmp_path):
    comparison = compare(make_plan(), tmp_path, executor=executor)
    ids = sorted(record.id for record in comparison.records)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "costs.json",
        "plan.json",
        "runs",
        "scores",
        "weights",
    ]
    assert sorted(entry.name for entry in (tmp_path / "runs").iterdir()) == [f"{run_id}.json" for run_id in ids]
    for folder in ("weights", "scores"):
        assert sorted(entry.name for entry in (tmp_path / folder).iterdir()) == [f"{i}.safetensors" for i in ids]
    assert load_comparison(tmp_path) == comparison
    record = comparison.records[0]
    assert RunRecord.from_json(json.loads((tmp_path / "runs" / f"{record.id}.json").read_text())) == record
    scores = read_values(tmp_path, record.id)
    assert {name: values.tolist() for name, values in scores.items()} == {
        "accuracy": [100, 0],
        "loss": [0.5, 2.0],
        "confidence": [0.5, 0.5],
        "labels": [0, 0],
        "predicted": [0, 1],
        "rank": [0, 1],
    }


def test_progress_is_told_at_the_start_after_each_run_and_after_the_costs(make_plan, ran, executor, tmp_path):
    plan, told, records = make_plan(arms=("none", "se"), seeds=(0,)), [], []
    done = compare(plan, tmp_path, executor=executor, on_progress=told.append, on_record=records.append)
    counts = [(len(comparison.records), len(comparison.costs)) for comparison in told]
    assert list(dict.fromkeys(counts)) == [(0, 0), (1, 0), (2, 0), (2, 2)]  # one that is slow is told of more often
    assert told[-1] == done
    assert tuple(records) == done.records
    told.clear()
    records.clear()
    compare(plan, tmp_path, executor=executor, on_progress=told.append, on_record=records.append)
    assert told == [done]
    assert records == []


def test_what_is_recorded_is_not_run_again(make_plan, ran, executor, tmp_path):
    first = compare(make_plan(), tmp_path, executor=executor)
    ran.clear()
    assert compare(make_plan(), tmp_path, executor=executor) == first
    assert ran == []


def test_a_finished_comparison_starts_no_process(make_plan, ran, executor, tmp_path, monkeypatch):
    first = compare(make_plan(), tmp_path, executor=executor)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("a process was started"))
    assert compare(make_plan(), tmp_path) == first


def test_a_killed_comparison_ends_with_the_records_of_one_that_was_not(make_plan, ran, executor, tmp_path):
    plan, finished = make_plan(), []

    def kill(record):
        finished.append(record)
        if len(finished) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(plan, tmp_path / "killed", executor=executor, on_record=kill)
    partial = load_comparison(tmp_path / "killed")
    assert partial.records == tuple(finished)
    executor.submit(int).result()  # what was under way is over
    ran.clear()
    resumed = compare(plan, tmp_path / "killed", executor=executor)
    assert ran[:-1] == [(arm, seed) for arm, seed in plan.schedule()[3:]]
    assert ran[-1][0] == "costs"
    assert timeless(resumed) == timeless(compare(plan, tmp_path / "whole", executor=executor))
    assert resumed.records[:3] == partial.records


@pytest.mark.parametrize("file", ["weights", "runs"])
def test_a_run_whose_files_cannot_be_written_leaves_no_record(make_plan, ran, executor, tmp_path, monkeypatch, file):
    """Weights come first: a record without them is never seen."""
    (tmp_path / file).write_text("in the way")
    with pytest.raises(OSError, match=file):
        compare(make_plan(), tmp_path, executor=executor)
    assert not list(tmp_path.glob("runs/*.json"))
    (tmp_path / file).unlink()
    assert len(compare(make_plan(), tmp_path, executor=executor).records) == 6


def test_costs_that_cannot_be_measured_are_an_error(make_plan, ran, executor, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise ValueError("cannot count the operation")

    monkeypatch.setattr(costs, "measure_costs", failing)
    with pytest.raises(RuntimeError, match="measurement of the costs failed: ValueError: cannot count the operation"):
        compare(make_plan(), tmp_path, executor=executor)
    assert len(load_comparison(tmp_path).records) == 6
    assert len(compare(make_plan(), tmp_path, executor=executor, costs=False).records) == 6


def test_a_changed_plan_keeps_what_still_belongs_to_it(make_plan, ran, executor, tmp_path):
    compare(make_plan(arms=("none", "se"), seeds=(0, 1)), tmp_path, executor=executor)
    files = set(tmp_path.glob("runs/*"))
    ran.clear()
    changed = make_plan(arms=("eca", "none"), seeds=(1, 2), reference="eca")
    comparison = compare(changed, tmp_path, executor=executor)
    *runs, measured = ran
    assert measured[1] == (PLAIN, "eca")
    assert runs == [("eca", 1), ("eca", 2), ("none", 2)]
    assert [(r.arm, r.seed) for r in comparison.records] == [("eca", 1), ("none", 1), ("eca", 2), ("none", 2)]
    assert load_comparison(tmp_path) == comparison
    assert files < set(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"recipe": Recipe(epochs=3, batch_size=40)}, "recipe"),
        ({"model": "resnet14"}, "model"),
        ({"model_options": {"width": 8}, "start": "default"}, "model_options, start"),
        ({"data_options": {"train": 110, "validation": 50, "test": 60}}, "data_options"),
        ({"arms": ("none", "eca"), "where": "stage"}, "where"),
    ],
)
def test_a_folder_with_another_comparison_is_refused_and_stays_as_it_was(
    make_plan, ran, executor, tmp_path, changes, differs
):
    first = compare(make_plan(), tmp_path, executor=executor)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    ran.clear()
    message = (
        f"{tmp_path} holds another comparison (resnet8 on photo-digits, arms none, se, saam; it differs in {differs}): "
        "choose another --out or remove it"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compare(make_plan(**changes), tmp_path, executor=executor)
    assert ran == []
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert load_comparison(tmp_path) == first


def test_other_images_under_the_same_name_are_another_comparison(make_plan, ran, executor, tmp_path, monkeypatch):
    compare(make_plan(), tmp_path, executor=executor)
    load = driver.load_data
    monkeypatch.setattr(
        driver, "load_data", lambda *args, **options: dataclasses.replace(load(*args, **options), fingerprint="other")
    )
    with pytest.raises(ValueError, match="it differs in the images, the code or the version of saam or torch"):
        compare(make_plan(), tmp_path, executor=executor)


def test_the_place_of_the_data_makes_no_other_comparison(make_plan, ran, executor, tmp_path):
    first = compare(make_plan(), tmp_path, executor=executor)
    moved = make_plan(data_options={**make_plan().data_options, "root": str(tmp_path / "elsewhere")})
    assert compare(moved, tmp_path, executor=executor).records == first.records


@pytest.mark.parametrize(
    ("changes", "settings", "arms"),
    [
        ({"arms": ("none", "se")}, {}, None),
        ({"arms": ("none", "eca", "se")}, {}, (PLAIN, "eca")),
        ({"arms": ("eca",)}, {}, (PLAIN, "eca")),
        ({}, {"threads": 2}, (PLAIN, "se", "saam")),
    ],
)
def test_costs_are_measured_for_the_arms_that_lack_them(make_plan, ran, executor, tmp_path, changes, settings, arms):
    compare(make_plan(seeds=(0,)), tmp_path, executor=executor)
    compare(make_plan(seeds=(0, 1)), tmp_path, executor=executor)
    assert [entry[0] for entry in ran].count("costs") == 1
    before = {cost.arm: cost for cost in load_comparison(tmp_path).costs}
    ran.clear()
    done = compare(make_plan(seeds=(0,), **changes), tmp_path, executor=executor, **settings)
    assert [entry[1] for entry in ran if entry[0] == "costs"] == ([] if arms is None else [arms])
    found = {cost.arm: cost for cost in done.costs}
    assert len(found) == len(done.costs)
    assert found.keys() >= {*done.plan.arms}
    if not settings:
        assert all(found[arm] is not None and found[arm] == cost for arm, cost in before.items())


def test_costs_can_be_left_out_and_added_later(make_plan, ran, executor, tmp_path):
    without = compare(make_plan(), tmp_path, executor=executor, costs=False)
    assert without.costs == ()
    assert load_comparison(tmp_path) == without
    ran.clear()
    assert len(compare(make_plan(), tmp_path, executor=executor).costs) == 3
    assert [entry[0] for entry in ran] == ["costs"]
    assert len(compare(make_plan(), tmp_path, executor=executor, costs=False).costs) == 3


@pytest.mark.parametrize("content", ["", '{"id": "x"', "[]", "{}"])
def test_a_damaged_record_stops_the_comparison_and_is_named(make_plan, ran, executor, tmp_path, content):
    record = compare(make_plan(), tmp_path, executor=executor).records[4]
    (tmp_path / "runs" / f"{record.id}.json").write_text(content)
    ran.clear()
    for call in (lambda: compare(make_plan(), tmp_path, executor=executor), lambda: load_comparison(tmp_path)):
        with pytest.raises(ValueError, match=rf"{record.id}\.json .*delete it"):
            call()
    assert ran == []


def test_a_record_under_another_name_is_refused(make_plan, ran, executor, tmp_path):
    first, second = compare(make_plan(), tmp_path, executor=executor).records[:2]
    (tmp_path / "runs" / f"{first.id}.json").replace(tmp_path / "runs" / f"{second.id}.json")
    with pytest.raises(
        ValueError, match=rf"{second.id}\.json is not the record of that run: it has the id '{first.id}'"
    ):
        compare(make_plan(), tmp_path, executor=executor)


def test_a_damaged_record_of_another_plan_does_not_matter(make_plan, ran, executor, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0123456789abcdef.json").write_text("damaged")
    assert len(compare(make_plan(), tmp_path, executor=executor).records) == 6


def changed_plan(**changes):
    """Text of a plan.json in which entries, or fields of the plan, are others."""

    def change(content):
        plan = {**content["plan"], **{name: value for name, value in changes.items() if name in content["plan"]}}
        return json.dumps({**content, "plan": plan, **{k: v for k, v in changes.items() if k not in plan}})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: "[]", "'plan' is of type dict"),
        (lambda content: '{"plan": 3}', "'plan' is of type dict"),
        (lambda content: json.dumps({"plan": content["plan"]}), "'classes' is of type int"),
        (changed_plan(runs=5), "'runs' is of type list"),
        (changed_plan(runs=["0123456789abcdef"]), "the ids of 6 runs, got .'0123456789abcdef'."),
        (changed_plan(runs=[1, 2, 3, 4, 5, 6]), "the ids of 6 runs"),
        (changed_plan(costs=None), "'costs' is of type str"),
        (changed_plan(seeds=2), "'seeds' of a plan must be of type list, got 2"),
        (changed_plan(model=2), "'model' of a plan must be of type str, got 2"),
        (changed_plan(recipe=[]), "'recipe' of a plan must be of type dict"),
        (changed_plan(arms=[3]), ""),
        (changed_plan(arms=["sam"]), "unknown attention 'sam'"),
    ],
)
def test_a_plan_of_the_wrong_shape_is_one_line_that_names_the_file(make_plan, ran, executor, tmp_path, change, message):
    compare(make_plan(), tmp_path, executor=executor)
    file = tmp_path / "plan.json"
    file.write_text(change(json.loads(file.read_text())))
    ran.clear()
    for call in (
        lambda: load_comparison(tmp_path),
        lambda: load_model(tmp_path, "se", 0),
        lambda: compare(make_plan(), tmp_path, executor=executor),
    ):
        with pytest.raises(
            ValueError, match=rf"^{re.escape(str(file))} does not hold the plan .*{message}.*; delete it"
        ):
            call()
    file.unlink()
    assert len(compare(make_plan(), tmp_path, executor=executor).records) == 6
    assert ran == []


@pytest.mark.parametrize(("file", "content"), [("costs.json", "{}"), ("costs.json", "["), ("plan.json", "{}")])
def test_damaged_costs_and_plans_are_named(make_plan, ran, executor, tmp_path, file, content):
    compare(make_plan(), tmp_path, executor=executor)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=file):
        load_comparison(tmp_path)


def test_a_folder_without_comparison_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no comparison: expected plan\.json"):
        load_comparison(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "resnet9"}, ValueError, "6n"),
        ({"model_options": {"wdith": 4}}, TypeError, "wdith"),
        ({"arms": ("none", "se,rd_ration=2")}, TypeError, "rd_ration"),
        ({"data": "photo-digit"}, ValueError, "photo-digits"),
        ({"data_options": {"trian": 5}}, TypeError, "trian"),
        ({"where": "everywhere"}, ValueError, "everywhere"),
        ({"recipe": Recipe(epochs=1, augmentation=("crp",))}, ValueError, "crp"),
    ],
)
def test_mistakes_show_before_anything_runs_and_leave_no_folder(
    make_plan, ran, executor, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        compare(make_plan(**changes), tmp_path / "out", executor=executor)
    assert ran == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_shows_before_anything_runs(make_plan, ran, executor, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="cannot write to"):
        compare(make_plan(), tmp_path / "file", executor=executor)
    assert ran == []


@pytest.mark.parametrize("settings", [{"workers": 0}, {"threads": 0}])
def test_no_workers_are_refused(make_plan, tmp_path, settings):
    with pytest.raises(ValueError, match="at least one worker with one thread"):
        compare(make_plan(), tmp_path, **settings)


def test_a_worker_with_other_data_is_found_out(make_plan, ran, executor, tmp_path, monkeypatch, make_record):
    other = scores_of((0.0,), (True,))
    monkeypatch.setattr(job, "run", lambda plan, arm, seed, **_: Run(make_record(arm, seed), nn.Linear(1, 1), other))
    with pytest.raises(RuntimeError, match="arm 'none' with seed 0 had other data or other versions"):
        compare(make_plan(), tmp_path, executor=executor)
    assert load_comparison(tmp_path).records == ()


def test_the_data_are_loaded_once_before_any_run(make_plan, ran, executor, tmp_path, monkeypatch):
    load, loaded = driver.load_data, []
    monkeypatch.setattr(driver, "load_data", lambda *args, **options: loaded.append(len(ran)) or load(*args, **options))
    compare(make_plan(), tmp_path, executor=executor)
    assert loaded[0] == 0
    assert len(loaded) == 1 + 6  # the fake runs load them to know their ids


def test_the_data_and_their_classes_are_told(make_plan, ran, executor, tmp_path):
    told = []
    done = compare(make_plan(), tmp_path, executor=executor, on_data=lambda splits: told.append((len(ran), splits)))
    ((before, splits),) = told
    assert (before, len(splits.train), len(splits.validation), len(splits.test)) == (0, 120, 50, 60)
    assert done.classes == load_comparison(tmp_path).classes == 10


def test_an_executor_gets_all_work_and_stays_open(make_plan, ran, tmp_path):
    class Counting(Executor):
        def __init__(self, inner):
            self.inner, self.submitted = inner, 0

        def submit(self, *work, **options):
            self.submitted += 1
            return self.inner.submit(*work, **options)

        def shutdown(self, *_, **__):
            pytest.fail("the caller's executor was shut down")

    with ThreadPoolExecutor(1) as threads:
        counting = Counting(threads)
        compare(make_plan(), tmp_path, executor=counting)
    assert counting.submitted == 6 + 1


@pytest.mark.parametrize(
    ("asked", "processors", "threads", "device", "workers"),
    [
        (None, 4, 1, "cpu", 4),
        (None, 4, 2, "cpu", 2),
        (None, 2, 4, "cpu", 1),
        (None, 8, 1, "cpu", 6),
        (None, 8, 1, "cuda", 1),
        (3, 8, 1, "cuda", 3),
        (None, 8, 1, ["cuda:0", "cuda:1"], 2),
        (3, 8, 1, ["cuda:0", "cuda:1"], 3),
    ],
)
def test_workers_fit_the_machine_and_share_out_the_devices(
    make_plan, ran, tmp_path, monkeypatch, asked, processors, threads, device, workers
):
    started, jobs = [], []

    class Threads(ThreadPoolExecutor):
        def __init__(self, workers):
            super().__init__(1)
            started.append(workers)

        def submit(self, do, *given, **options):
            jobs.extend(given[:1])
            return super().submit(do, *given, **options)

    monkeypatch.setattr(driver.os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    monkeypatch.setattr(driver, "Processes", Threads)
    monkeypatch.setattr(driver, "environment", lambda _: {})
    monkeypatch.setattr(driver, "require_device", torch.device)
    compare(make_plan(), tmp_path, workers=asked, threads=threads, device=device)
    assert started == [workers]
    *runs, measured = jobs
    assert measured.arms == make_plan().arms
    names = [device] if isinstance(device, str) else device
    assert {job.threads for job in runs} == {threads}
    first = [job.device for job in runs[:workers]]
    assert first == [names[slot % len(names)] for slot in range(len(first))]
    assert {job.device for job in runs} == set(names)


def test_the_trained_network_comes_back(make_plan, executor, tmp_path):
    plan = make_plan(arms=("none", "saam"), seeds=(0,))
    compare(plan, tmp_path, executor=executor, costs=False)
    _, model, scores = job.run(plan, "saam", 0)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    loaded = load_model(tmp_path, "saam", 0)
    assert not loaded.training
    assert torch.equal(loaded(x), model.eval()(x))
    kept = read_values(tmp_path, load_comparison(tmp_path).records[1].id)
    assert torch.equal(kept["loss"], scores.losses.half().float())
    assert torch.equal(kept["accuracy"], 100 * scores.correct.float())


def test_networks_that_are_not_there_or_damaged_are_named(make_plan, ran, executor, tmp_path):
    record = compare(make_plan(), tmp_path, executor=executor).records[0]
    again = re.escape(f"saam compare --plan {tmp_path}/plan.json --out {tmp_path}")
    for arm, seed in (("eca", 0), ("none", 9)):
        message = f"no network of arm '{arm}' with seed {seed}: that run has not finished; {again}$"
        with pytest.raises(FileNotFoundError, match=message):
            load_model(tmp_path, arm, seed)
    with pytest.raises(ValueError, match=rf"{record.id}\.safetensors does not hold the weights of 'none'"):
        load_model(tmp_path, record.arm, record.seed)  # the fake run left another network
    weights, kept = tmp_path / "weights" / f"{record.id}.safetensors", tmp_path / "runs" / f"{record.id}.json"
    weights.write_bytes(b"damaged")
    todo = rf"to train it again delete {re.escape(str(kept))}, then {again}$"
    with pytest.raises(ValueError, match=rf"{record.id}\.safetensors does not hold .*{todo}"):
        load_model(tmp_path, record.arm, record.seed)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{record.id}\.safetensors is gone; {todo}"):
        load_model(tmp_path, record.arm, record.seed)
    kept.unlink()  # the advice works
    ran.clear()
    compare(make_plan(), tmp_path, executor=executor)
    assert ran == [(record.arm, record.seed)]
    assert weights.is_file()


def test_a_second_driver_waits_for_the_costs_that_the_first_one_measures(
    make_plan, ran, executor, tmp_path, monkeypatch
):
    compare(make_plan(), tmp_path, executor=executor, costs=False)
    ran.clear()
    measured, going_on = threading.Event(), threading.Event()
    real = dispatch.arm_costs

    def slow(*args, **settings):
        measured.set()
        assert going_on.wait(60)
        return real(*args, **settings)

    monkeypatch.setattr(dispatch, "arm_costs", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(compare, make_plan(), tmp_path, executor=executor)
        assert measured.wait(60)
        second = pool.submit(compare, make_plan(), tmp_path, executor=executor)
        with pytest.raises(TimeoutError):
            second.result(timeout=2.5)
        going_on.set()
        assert second.result().costs == first.result().costs
    assert [entry[0] for entry in ran] == ["costs"]
    assert not (tmp_path / "leases").exists()


def test_a_closed_pipe_of_the_callers_is_no_error_of_the_folder(make_plan, ran, executor, tmp_path):
    def closed(record):
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError, match=r"^\[Errno 32\] Broken pipe$"):
        drive(make_plan(), tmp_path, executor=executor, costs=False, on_record=closed)
