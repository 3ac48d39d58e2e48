import dataclasses
import json
import math

import pytest

from saam.comparison.records import CostRecord, RunRecord, read_json

COST = CostRecord(
    arm="se",
    parameters=130,
    extra_parameters=7,
    macs=1000,
    macs_ratio=1.25,
    train_step_ms=2.0,
    train_step_spread_ms=0.5,
    train_step_ratio=1.1,
    inference_ms=1.0,
    inference_spread_ms=0.25,
    inference_ratio=1.2,
    peak_memory_mb=3.0,
    peak_memory_ratio=1.0,
    batch_size=8,
    image_size=(32, 24),
    threads=1,
    device="cpu",
)


def test_a_run_record_comes_back_from_a_file_as_it_was(make_record, tmp_path):
    record = make_record(arm="saam,heads=4", seed=3, accuracy=87.25, loss=0.4, model_options={"width": 16})
    (tmp_path / "a.json").write_text(json.dumps(record.to_json()))
    assert RunRecord.from_json(read_json(tmp_path / "a.json")) == record


def test_a_whole_number_will_do_for_a_float(make_record):
    assert RunRecord.from_json({**make_record().to_json(), "seconds": 2}).seconds == 2


def test_a_cost_record_comes_back_from_json_as_it_was():
    assert CostRecord.from_json(json.loads(json.dumps(COST.to_json()))) == COST


def test_a_diverged_loss_is_null_in_json_and_nan_in_the_record(make_record):
    record = make_record(loss=math.inf, curve=({"epoch": 1, "train_loss": math.nan},))
    stored = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert stored["test"]["loss"] is None
    assert stored["curve"] == [{"epoch": 1, "train_loss": None}]
    back = RunRecord.from_json(stored)
    assert math.isnan(back.test["loss"])
    assert back.test["accuracy"] == 90.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("seed"), r"missing \['seed'\]"),
        (lambda r: r.update(extra=1), r"unknown \['extra'\]"),
        (lambda r: r.update(seed="0"), "'seed' must be .*int.*'0'"),
        (lambda r: r.update(seconds="fast"), "'seconds'"),
        (lambda r: r.update(parameters=True), "'parameters'"),
        (lambda r: r.update(curve={}), "'curve'"),
        (lambda r: r["test"].pop("loss"), "'test' must hold accuracy, loss and count"),
        (lambda r: r["validation"].update(loss="low"), "'validation' must hold numbers"),
    ],
)
def test_fields_that_do_not_make_a_record_are_named(make_record, change, message):
    values = make_record().to_json()
    change(values)
    with pytest.raises(ValueError, match=message):
        RunRecord.from_json(values)


def test_what_is_no_object_is_no_record():
    with pytest.raises(ValueError, match="expected the fields of a CostRecord, got list"):
        CostRecord.from_json([1])


def test_a_file_that_is_not_json_is_named(tmp_path):
    for content in (b'{"id": "a', b"", b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.json is not a JSON file .*delete it"):
            read_json(tmp_path / "bad.json")


def test_records_are_frozen(make_record):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_record().seed = 1
