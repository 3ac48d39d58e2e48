import dataclasses
import json

import pytest
import torch
from safetensors.torch import load

from saam.comparison import job
from saam.comparison.job import Job, work
from saam.comparison.plan_data import load_kept_splits
from saam.comparison.plan_run import run
from saam.comparison.records import Finished
from saam.comparison.store import read_progress


def untimed(record):
    return dataclasses.replace(
        record, seconds=0.0, finished="", curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve)
    )


def work_on(plan, state):
    splits = load_kept_splits(plan)
    return work(Job(plan, "se", 0, plan.run_id("se", 0, fingerprint=splits.fingerprint), state=state))


def test_a_job_says_after_each_epoch_how_far_it_is(make_plan, tmp_path, monkeypatch):
    (tmp_path / "states").mkdir()
    plan, state, told = make_plan(), tmp_path / "states" / "x.pt", []
    write = job.write_atomically

    def watched(contents):
        write(contents)
        assert state.is_file()  # the state comes first
        told.append(json.loads((tmp_path / "states" / "x.json").read_text()))

    monkeypatch.setattr(job, "write_atomically", watched)
    finished = work_on(plan, state)
    assert [entry["epoch"] for entry in told] == [1, 2]
    curve = [{key: value for key, value in epoch.items() if key != "observed"} for epoch in finished.record.curve]
    for count, (entry, epoch) in enumerate(zip(told, curve, strict=True), 1):
        names = ("train_loss", "validation_accuracy", "seconds")
        numbers = {name: epoch[name] for name in names}
        assert entry["curve"] == curve[:count]
        assert {key: value for key, value in entry.items() if key != "curve"} == {
            "arm": "se",
            "seed": 0,
            "epoch": count,
            "epochs": 2,
            "numbers": numbers,
        }
    (progress,) = read_progress(tmp_path, ["x", "another"])
    assert {**dataclasses.asdict(progress), "curve": list(progress.curve)} == told[-1]


@pytest.mark.parametrize("state", [None, "nowhere/x.pt"])
def test_a_job_that_does_not_see_the_folder_keeps_no_state(make_plan, tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    assert isinstance(work_on(make_plan(), state and tmp_path / state), Finished)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_job_sends_weights_and_scores_as_they_are(make_plan):
    finished = work_on(make_plan(), None)
    again = run(make_plan(), "se", 0)
    weights, scores = load(finished.weights), load(finished.scores)
    assert weights.keys() == again.model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in again.model.state_dict().items())
    assert torch.equal(scores["loss"], again.scores.losses.half())
    assert torch.equal(scores["accuracy"], 100 * again.scores.correct.half())
    assert untimed(finished.record) == untimed(again.record)


def test_a_job_has_its_threads_and_gives_them_back(make_plan, monkeypatch):
    seen, before = [], torch.get_num_threads()

    def watched(*_, **__):
        seen.append(torch.get_num_threads())
        raise RuntimeError("enough")

    monkeypatch.setattr(job, "run", watched)
    failed = work(Job(make_plan(), "se", 0, "x", threads=before + 2))
    assert (seen, torch.get_num_threads()) == ([before + 2], before)
    assert (failed.error, failed.id, failed.arm, failed.seed) == ("RuntimeError: enough", "x", "se", 0)


def test_losses_too_large_for_the_stored_type_stay_finite():
    from comparison.fakes import scores_of

    assert job._by_image(scores_of((1e6, 0.5), (True, False)))["loss"].tolist() == [65504.0, 0.5]
