import shlex
from dataclasses import replace

from report.fakes import plan
from saam._core.options import parse_options
from saam.comparison import TaskPlan
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.report.command import command
from saam.training import create_recipe


def options(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name = word
        else:
            found.setdefault(name, []).append(word)
    return found


def test_the_command_says_the_whole_plan() -> None:
    recipe = create_recipe("cifar", epochs=20, augmentation=("crop", "flip"), nesterov=True)
    made = plan(
        ("none", "saam,heads=4"),
        7,
        recipe=recipe,
        model="resnet20",
        model_options={"width": (16, 32, 64)},
        data="folder:my images",
        data_options={"size": 48, "limit": None},
        where="stage",
        start="default",
        reference="saam,heads=4",
        focus="none",
    )
    words = shlex.split(command(made))
    assert words[:2] == ["saam", "compare"]
    said = options(words[2:])
    name, changes = parse_options(said["--recipe"][0])
    assert create_recipe(name, **changes) == recipe
    assert parse_options(said["--data"][0]) == ("folder:my images", {"size": 48, "limit": None})
    assert parse_options(said["--model"][0]) == ("resnet20", {"width": (16, 32, 64)})
    assert said["--arms"] == ["none", "saam,heads=4"]
    assert said["--seeds"] == ["7"]
    rest = {key: said[key] for key in ("--where", "--start", "--reference", "--focus")}
    assert rest == {"--where": ["stage"], "--start": ["default"], "--reference": ["saam,heads=4"], "--focus": ["none"]}


def test_what_is_usual_goes_unsaid() -> None:
    said = options(shlex.split(command(plan(recipe=create_recipe("quick"))))[2:])
    assert said["--recipe"] == ["quick"]
    assert set(said) == {"--data", "--model", "--arms", "--seeds", "--recipe"}


def test_a_task_of_ones_own_has_no_command() -> None:
    metrics = (Metric("iou", "higher", spread=0.01, delta=0.01),)
    assert command(TaskPlan(task="nuclei:segment", arms=("none", "saam"), seeds=(0,), metrics=metrics)) == ""


def test_what_words_cannot_say_is_left_to_the_file() -> None:
    assert command(plan(seeds=3)).startswith("saam compare --data")
    for made in (
        plan(seeds=range(3, 6)),
        plan(data="folder:a,b"),
        plan(data_options={"note": "x, y"}),
        plan(data_options={"note": "7"}),
    ):
        assert command(made) == "saam compare --plan plan.json"


def test_labels_and_declarations_that_options_cannot_say_are_left_to_the_file() -> None:
    labelled = plan({"none": "none", "mine": "saam,heads=4"})
    assert command(labelled) == "saam compare --plan plan.json"
    spread = plan(metrics=(replace(ACCURACY, spread=0.6), LOSS))
    assert command(spread) == "saam compare --plan plan.json"
    assert command(plan(metrics=(replace(ACCURACY, delta=0.25), LOSS))).endswith(" --delta 0.25")
