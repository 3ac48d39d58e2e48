"""Arms: which are scored, which are classes of the user's own, and what their options are."""

import pytest

from saam.comparison import Arm, Plan, compare
from saam.comparison.network import build_model
from saam.comparison.plan import check_plan
from saam.training import Recipe


@pytest.mark.parametrize(
    ("label", "scored"),
    [
        ("gc", True),
        ("gc:mul", True),
        ("saam", True),
        ("saam,squeeze=mean", False),
        ("eca,squeeze=score", True),
        ("eca,squeeze=mean+score", True),
        ("se", False),
        ("none", False),
        ("wider", False),
        ("wider:time", False),
        ("none,width=24", False),
        ("none,head=score", True),
        ("none,head=mean", False),
        ("se,head=score,width=3", True),
        ("ge", False),
        ("eca:3557", False),
        ("coord", False),
        ("my.module:Attention", False),
        ("my.module:Attention,heads=2", False),
    ],
)
def test_scored(label, scored):
    assert Arm(label).scored is scored


@pytest.mark.parametrize(
    ("label", "own"),
    [
        ("my.module:Attention", True),
        ("module:Attention,heads=2", True),
        ("gc:mul", False),
        ("se:nobias", False),
        ("bam:paper", False),
        ("wider:time", False),
        ("timm:gca", False),
        ("none", False),
    ],
)
def test_a_registered_name_with_a_colon_is_no_class_of_the_users_own(label, own):
    assert Arm(label).own is own


def test_a_registered_name_with_a_colon_is_built_and_taken_from_a_file(make_plan):
    plan = make_plan(arms=("none", "gc:mul", "se:nobias"))
    check_plan(Plan.from_json(plan.to_json()))
    for arm in plan.arms:
        build_model(plan, arm, seed=0, classes=10)
        plan.run_id(arm, 0, fingerprint="x")
    with pytest.raises(ValueError, match="the file names code, which is not imported: my:Class"):
        check_plan(make_plan(arms=("none", "my:Class")))


def test_the_options_of_none_are_those_of_the_backbone(make_plan):
    plan = make_plan(arms=("none", "none,width=(4,9,16)", "se"))
    plain, other = (build_model(plan, arm, seed=0, classes=10) for arm in plan.arms[:2])
    assert (plain.widths, other.widths) == ((8, 16, 32), (4, 9, 16))
    with pytest.raises(TypeError, match="wdith"):
        build_model(make_plan(arms=("none", "none,wdith=4")), "none,wdith=4", seed=0, classes=10)


@pytest.mark.parametrize("label", ["wider,width=3", "wider:time,a=1"])
def test_wider_takes_no_option(label):
    with pytest.raises(ValueError, match="takes no option"):
        Arm(label)


def test_the_width_of_a_control_that_nobody_has_found_is_not_known(make_plan):
    with pytest.raises(ValueError, match="'wider' is a control of a comparison, which finds its width"):
        build_model(make_plan(arms=("none", "wider", "se")), "wider", seed=0, classes=10)


def test_a_mistake_in_own_options_shows_before_anything_runs(tmp_path):
    plan = Plan(recipe=Recipe(epochs=1), arms=("none", "none,wdith=4"), seeds=(0,), data_options={"train": 60})
    with pytest.raises(TypeError, match="wdith"):
        compare(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
