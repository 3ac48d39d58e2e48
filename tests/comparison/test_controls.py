"""Controls of equal cost: which width "wider" gets, and what of it is kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import ceil, floor

import pytest
import torch

from saam import create_model
from saam.comparison import compare, controls, load_comparison, load_model
from saam.comparison.controls import with_controls
from saam.comparison.plan_file import load_plan
from saam.report.command import command

DATA = {"classes": 10, "image_size": (32, 32), "images": 120}


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def size(name, widths=None, **options):
    with torch.device("meta"):
        return parameters(create_model(name, **({} if widths is None else {"width": widths}), **options))


@pytest.mark.parametrize(
    ("model", "options", "focus", "classes"),
    [
        ("resnet8", {"width": 4}, "se,rd_ratio=2.0", 10),
        ("resnet8", {"width": 4}, "gsop", 10),
        ("resnet14", {}, "gsop", 1000),
        ("preresnet8", {"width": 6}, "se", 10),
        ("wrn10_2", {}, "saam", 10),
        ("resnet8", {}, "simam", 10),
    ],
)
def test_wider_has_the_fewest_parameters_that_are_at_least_the_focus_arms(make_plan, model, options, focus, classes):
    plan = make_plan(arms=("none", "wider", focus), focus=focus, model=model, model_options=options)
    label = with_controls(plan, known={}, **{**DATA, "classes": classes}).arm("wider").label
    assert label.startswith("none,width=(")
    widths = tuple(map(int, label.removeprefix("none,width=(").removesuffix(")").split(",")))
    target = size(model, attention=focus, num_classes=classes, start="identity", **options)
    found = size(model, widths, num_classes=classes)
    base = create_model(model, **options).widths
    assert found >= target
    assert all(width >= least for width, least in zip(widths, base, strict=True))
    below = product(*(range(max(least, width - 2), width + 1) for width, least in zip(widths, base, strict=True)))
    scales = [width / least for width, least in zip(widths, base, strict=True)]
    even = (product(*({floor(scale * least), ceil(scale * least)} for least in base)) for scale in scales)
    near = {*below, *(each for ways in even for each in ways)}
    enough = [each for each in (size(model, each, num_classes=classes) for each in near) if each >= target]
    assert found == min(enough)


def test_the_head_counts_as_attention(make_plan):
    plan = make_plan(arms=("none", "wider", "none,head=score"))
    assert plan.focus == "none,head=score"
    assert with_controls(plan, known={}, **DATA).arm("wider").label == "none,width=(9, 16, 32)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("none", "wider")}, r"that is 'wider', which has no attention: choose another focus arm"),
        ({"arms": ("none", "wider", "se"), "focus": "none"}, r"that is 'none', which has no attention"),
        (
            {"arms": ("none", "wider", "se"), "model": "vgg11_bn", "model_options": {}},
            r"vgg11_bn cannot be widened, so it has no control 'wider': leave that arm out",
        ),
    ],
)
def test_what_has_no_wider_control_is_said(make_plan, changes, message):
    with pytest.raises(ValueError, match=message):
        with_controls(make_plan(**changes), known={}, **DATA)


def test_a_plan_without_controls_stays_as_it_is(make_plan):
    plan = make_plan()
    assert with_controls(plan, known={}, **DATA) is plan


@pytest.mark.parametrize("label", ["none", "wider", "wider:time"])
def test_the_label_of_a_control_is_not_free(make_plan, label):
    with pytest.raises(ValueError, match=f"the label '{label}' is that of a control"):
        make_plan(arms={label: "se", "saam": "saam"})


class Ratio:
    """A cost whose ratio is chosen."""

    def __init__(self, arm, ratio):
        self.arm, self.train_step_ratio = arm, ratio


@pytest.fixture
def measured(monkeypatch):
    """The focus arm takes twice the time, a network the time of its first width over the base; what was measured."""
    calls = []

    def measure_costs(models, recipe, **settings):
        calls.append((tuple(models), recipe.batch_size, settings))
        return [Ratio(arm, 2.0 if arm == "saam" else model.widths[0] / 8) for arm, model in models.items()]

    monkeypatch.setattr(controls, "measure_costs", measure_costs)
    return calls


def test_wider_in_time_is_the_first_width_that_is_as_slow(make_plan, measured):
    plan = make_plan(arms=("none", "wider:time", "saam"))
    label = with_controls(plan, known={}, **DATA).arm("wider:time").label
    assert label == "none,width=(16, 32, 64)"
    assert len(measured) == 3  # up to 14, 14 and 20 channels
    arms, batch, settings = measured[0]
    assert arms[:3] == ("none", "saam", "none,width=(8,16,32)")
    assert batch == 40
    assert settings == {"image_size": (32, 32), "threads": 1, "device": None, "seconds": 30.0}


def test_an_arm_that_is_slower_than_everything_has_no_control_in_time(make_plan, monkeypatch):
    monkeypatch.setattr(
        controls, "measure_costs", lambda models, recipe, **_: [Ratio(arm, 9.0 * (arm == "saam")) for arm in models]
    )
    with pytest.raises(ValueError, match="'saam' is slower than resnet8 at four times its width"):
        with_controls(make_plan(arms=("none", "wider:time", "saam")), known={}, **DATA)


def test_known_widths_are_taken_and_measured_no_more(make_plan, measured):
    known = {"wider:time": "none,width=(9,18,36)", "wider": "none,width=(10,20,40)", "other": "se"}
    plan = with_controls(make_plan(arms=("none", "wider", "wider:time", "saam")), known=known, **DATA)
    assert measured == []
    assert plan.aliases == {name: known[name] for name in ("wider", "wider:time")}


def test_the_width_decides_the_run_id_and_its_name_does_not(make_plan):
    plan = with_controls(make_plan(arms=("none", "wider", "saam")), known={}, **DATA)
    spelled = make_plan(arms=("none", plan.arm("wider").label, "saam"))
    other = make_plan(arms=("none", "none,width=(9,9,9)", "saam"))
    (own,), (same,), (another,) = ({each.run_id(each.arms[1], 0, fingerprint="x")} for each in (plan, spelled, other))
    assert own == same != another


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A comparison with both controls; the width in time is not measured again by the second call."""
    from saam.comparison import Plan
    from saam.training import Recipe

    out = tmp_path_factory.mktemp("wide")
    plan = Plan(
        recipe=Recipe(epochs=1, batch_size=30),
        arms=("none", "wider", "wider:time", "saam"),
        seeds=(0,),
        model_options={"width": 4, "stem_stride": 2},
        data_options={"train": 60, "validation": 30, "test": 30},
    )
    with pytest.MonkeyPatch.context() as patch:
        calls = []

        def measure_costs(models, recipe, **settings):
            calls.append(tuple(models))
            return [Ratio(arm, model.widths[0] - 3.5 if arm != "saam" else 1.0) for arm, model in models.items()]

        patch.setattr(controls, "measure_costs", measure_costs)
        with ThreadPoolExecutor(1) as executor:
            first = compare(plan, out, executor=executor, costs=False)
            second = compare(plan, out, executor=executor, costs=False)
            assert len(calls) == 1
            assert first == second
            with pytest.raises(ValueError, match="another comparison"):
                compare(plan.__class__(**{**plan.__dict__, "model_options": {"width": 6}}), out, executor=executor)
    return out, plan, first


def test_the_widths_are_kept_in_the_plan(wide):
    out, _, comparison = wide
    kept = json.loads((out / "plan.json").read_text())["plan"]
    assert kept["arms"] == ["none", "wider", "wider:time", "saam"]
    assert kept["aliases"] == {"wider": "none,width=(5,8,16)", "wider:time": "none,width=(5,9,17)"}
    assert load_comparison(out) == comparison
    assert load_plan(out) == comparison.plan


@pytest.mark.parametrize(("arm", "widths"), [("wider", (5, 8, 16)), ("wider:time", (5, 9, 17)), ("none", (4, 8, 16))])
def test_the_network_of_a_wider_arm_can_be_loaded(wide, arm, widths):
    out, _, comparison = wide
    model = load_model(out, arm, 0)
    assert model.widths == widths
    assert parameters(model) == next(record.parameters for record in comparison.records if record.arm == arm)


def test_another_focus_arm_gets_widths_of_its_own(wide, measured):
    out, plan, _ = wide
    from dataclasses import replace

    changed = replace(plan, arms=("none", "wider", "se,rd_ratio=1.0"), focus="se,rd_ratio=1.0")
    with ThreadPoolExecutor(1) as executor:
        comparison = compare(changed, out, executor=executor, costs=False)
        again = compare(plan, out, executor=executor, costs=False)
    assert comparison.plan.arm("wider").label != "none,width=(5, 8, 16)"
    assert again.plan.arm("wider").label == "none,width=(5, 8, 16)"


def test_the_command_of_a_report_names_the_control_not_its_width(wide):
    _, _, comparison = wide
    assert "--arms none wider wider:time saam" in command(comparison.plan)
