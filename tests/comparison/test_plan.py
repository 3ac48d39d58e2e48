import dataclasses
import json
import pickle

import pytest
import torch

from saam.comparison import Metric
from saam.comparison import plan as plan_module
from saam.comparison.plan import Arm, Plan
from saam.training import Recipe

RECIPE = Recipe(epochs=2, batch_size=50)


def make_plan(**changes):
    values = {
        "recipe": RECIPE,
        "arms": ("none", "se", "saam"),
        "seeds": (0, 1),
        "model_options": {"width": (4, 8, 16)},
        "data_options": {"train": 200, "digit_size": [12, 19]},
    }
    return Plan(**{**values, **changes})


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (" none ", "none"),
        (" se ", "se"),
        ("saam, scorer=channel ,heads=4", "saam,heads=4,scorer=channel"),
        ("eca,squeeze=score", "eca,squeeze=score"),
        ("none, head=score", "none,head=score"),
        ("saam,heads=2,head=score", "saam,head=score,heads=2"),
    ],
)
def test_an_arm_has_one_label(given, label):
    assert Arm(given).label == label
    assert Arm(label) == Arm(given)


def test_an_arm_knows_whether_it_is_scored():
    scored = {"none": False, "se": False, "saam,heads=2": True, "eca,squeeze=score": True, "none,head=score": True}
    assert {arm: Arm(arm).scored for arm in scored} == scored


def test_the_head_is_apart_from_the_attention():
    arm = Arm("saam,heads=2,head=score")
    assert (arm.attention, arm.options, arm.head) == ("saam,heads=2", {"heads": 2}, "score")
    assert (Arm("none,head=score").attention, Arm("none").head) == ("none", None)
    assert Arm("none,width=24,head=score").options == {"width": 24}  # of the backbone
    with pytest.raises(ValueError, match="'wider' takes no option, got 'wider,width=24'"):
        Arm("wider,width=24")


def test_an_unknown_attention_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown attention 'sam'.*'saam'"):
        Arm("sam")
    with pytest.raises(ValueError, match="option=value"):
        Arm("saam,heads")


@pytest.mark.parametrize(
    ("changes", "reference", "focus"),
    [
        ({}, "none", "saam"),
        ({"arms": ("se", "eca")}, "se", "eca"),
        ({"arms": ("se", "eca,squeeze=score", "none", "saam")}, "none", "eca,squeeze=score"),
        ({"arms": ("se",)}, "se", "se"),
        ({"arms": ("none", "se", "wider")}, "none", "se"),  # no control
        ({"arms": ("se", "none")}, "none", "se"),  # not the reference
        ({"arms": ("none", "se", "none,head=gem")}, "none", "none,head=gem"),
        ({"arms": ("none", "wider")}, "none", "wider"),
        ({"reference": "se", "focus": "none"}, "se", "none"),
        ({"arms": ("none", "saam, heads=2"), "focus": "saam ,heads=2"}, "none", "saam,heads=2"),
    ],
)
def test_reference_and_focus_are_found_where_they_are_not_given(changes, reference, focus):
    plan = make_plan(**changes)
    assert (plan.reference, plan.focus) == (reference, focus)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"arms": ()}, ValueError, "needs arms, got none"),
        ({"seeds": ()}, ValueError, "needs seeds, got none"),
        ({"arms": ("se", "none", " se")}, ValueError, "arms must differ from each other, got se more than once"),
        ({"seeds": (3, 3)}, ValueError, "seeds must differ from each other, got 3 more than once"),
        ({"seeds": (0, -1)}, ValueError, "seeds must be 0 or above, got -1"),
        ({"seeds": (0, 1.5)}, TypeError, "seeds must be integers"),
        ({"seeds": (True,)}, TypeError, "seeds must be integers"),
        ({"arms": ("se", "bogus")}, ValueError, "unknown attention 'bogus'"),
        ({"reference": "eca"}, ValueError, "unknown reference arm 'eca'.*none, se, saam"),
        ({"focus": "gc"}, ValueError, "unknown focus arm 'gc'"),
        (
            {"metrics": (Metric("f1", "higher", spread=1.0, delta=1.0),)},
            ValueError,
            "unknown metric 'f1': .*calibration",
        ),
        ({"model_options": {"width": torch.ones(1)}}, TypeError, "model_options must hold plain values"),
        ({"data_options": {"size": {1, 2}}}, TypeError, "data_options must hold plain values"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        make_plan(**changes)


def test_the_schedule_goes_seed_by_seed():
    plan = make_plan(arms=("se", "none"), seeds=(4, 2))
    assert plan.schedule() == (("se", 4), ("none", 4), ("se", 2), ("none", 2))


def test_a_plan_comes_back_from_json_and_pickle_as_it_was():
    plan = make_plan(where="residual", start="identity", focus="se", recipe=RECIPE.replace(augmentation=("crop",)))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_options_are_the_same_before_and_after_json():
    plan = make_plan(model_options={"width": [4, 8, 16]}, data_options={"nested": {"a": [1, [2]]}})
    assert plan.model_options == {"width": (4, 8, 16)}
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_does_not_share_the_options_it_was_given():
    options = {"width": 8}
    plan = make_plan(model_options=options)
    options["width"] = 8
    assert plan.model_options == {"width": 8}


def test_a_folder_of_images_is_the_same_from_any_directory(tmp_path, monkeypatch):
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    plans = []
    for place, data in ((tmp_path, "pets"), (tmp_path / "pets", "../pets"), (tmp_path / "pets" / "cats", "folder:..")):
        monkeypatch.chdir(place)
        plans.append(make_plan(data=data))
    assert {plan.data for plan in plans} == {f"folder:{tmp_path / 'pets'}"}
    assert len({plan.run_id("se", 0, fingerprint="f") for plan in plans}) == 1
    assert make_plan(data="cifar10").data == "cifar10"


def test_a_folder_that_moved_has_the_same_runs_if_it_has_the_same_images(tmp_path):
    plans = []
    for place in ("here", "there"):
        (tmp_path / place / "pets" / "cats").mkdir(parents=True)
        plans.append(make_plan(data=str(tmp_path / place / "pets")))
    assert plans[0].data != plans[1].data
    assert plans[0].run_id("se", 0, fingerprint="f") == plans[1].run_id("se", 0, fingerprint="f")
    assert plans[0].run_id("se", 0, fingerprint="f") != plans[1].run_id("se", 0, fingerprint="g")


@pytest.mark.parametrize("change", [lambda v: v.pop("seeds"), lambda v: v.update(sedes=[1])])
def test_fields_that_make_no_plan_are_refused(change):
    values = make_plan().to_json()
    change(values)
    with pytest.raises(ValueError, match="expected the fields"):
        Plan.from_json(values)


def run_id(arm="se", seed=0, fingerprint="f", **changes):
    return make_plan(**changes).run_id(arm, seed, fingerprint=fingerprint)


def test_a_run_id_is_sixteen_hexadecimal_digits():
    assert len(run_id()) == 16
    assert int(run_id(), 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"arm": "saam"},
        {"arm": "none"},
        {"seed": 1},
        {"fingerprint": "g"},
        {"model": "resnet14"},
        {"model_options": {"width": (4, 8, 32)}},
        {"data": "cifar10"},
        {"data_options": {"train": 201, "digit_size": [12, 19]}},
        {"start": "default"},
        {"where": "stage"},
        *({"recipe": RECIPE.replace(**{name: value})} for name, value in [("epochs", 3), ("ema", 0.9), ("clip", 1.0)]),
    ],
)
def test_a_run_id_changes_with_what_determines_the_result(change):
    assert run_id(**change) != run_id()


def test_every_field_of_a_plan_is_either_in_the_run_id_or_known_not_to_matter():
    in_id = {"model", "model_options", "data", "data_options", "recipe", "where", "start"}
    not_in = {"arms", "seeds", "reference", "focus", "metrics", "aliases", "stopped"}
    assert {field.name for field in dataclasses.fields(Plan)} == in_id | not_in


@pytest.mark.parametrize(("where", "name"), [(plan_module, "__version__"), (torch, "__version__")])
def test_a_run_id_changes_with_the_versions(where, name, monkeypatch):
    before = run_id()
    monkeypatch.setattr(where, name, "99.0")
    assert run_id() != before


@pytest.mark.parametrize(
    "change",
    [
        {"arms": ("se", "eca"), "focus": "eca"},
        {"seeds": (0, 7)},
        {"reference": "se", "focus": "none"},
        {"data_options": {"digit_size": [12, 19], "train": 200, "root": "/elsewhere"}},
        {"data_options": {"digit_size": [12, 19], "train": 200, "workers": 3}},
    ],
)
def test_a_run_id_stays_when_something_else_changes(change):
    assert run_id(**change) == run_id()


def test_placement_and_start_do_not_touch_the_plain_backbone():
    assert run_id(arm="none", where="stage", start="identity") == run_id(arm="none")


def test_a_registered_name_with_a_colon_is_no_code_of_the_users(make_plan):
    arms = ("none", "wider:time", "gc:mul", "se:timm", "timm:gca", "my.attention:Mine,k=3")
    plan = make_plan(arms=arms)
    assert [plan.arm(arm).own for arm in plan.arms] == [False] * 5 + [True]
    assert plan.arms[:5] == arms[:5]
    assert plan.code() == ("my.attention:Mine",)
    assert plan.code("gc:mul") == ()
    with pytest.raises(ValueError, match="unknown attention 'gc:mull': did you mean 'gc:mul'"):
        Arm("gc:mull")


def test_the_colours_of_published_weights_are_in_the_run_id_of_pretrained_networks_alone(monkeypatch):
    tuned, new = {"pretrained": True}, {}
    before = [run_id(model_options=options) for options in (tuned, new)]
    monkeypatch.setattr(plan_module, "published_colours", lambda name: ((0.1,) * 3, (0.2,) * 3))
    after = [run_id(model_options=options) for options in (tuned, new)]
    assert before[0] != after[0]
    assert before[1] == after[1]
