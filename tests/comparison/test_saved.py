"""The networks of a folder, whoever wrote it."""

import json
from concurrent.futures import ThreadPoolExecutor
from shutil import copytree

import pytest
import torch

import saam
import user_code
from saam.comparison import LOSS, Plan, compare, load_model, open_run, open_seeds
from saam.models import Preprocessing, create_model, describe
from saam.training import create_recipe, save_checkpoint

OWN = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("0123456789"))
DATA = {"train": 60, "validation": 20, "test": 30}
GIVEN = "photo-digits,train=80,validation=20,test=40"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A comparison of arms that were trained for a moment; its focus arm is not the last one."""
    folder = tmp_path_factory.mktemp("runs") / "cmp"
    plan = Plan(
        recipe=create_recipe("quick", epochs=1, batch_size=30),
        arms=("none", "saam", "none,head=score"),
        seeds=(0, 1),
        model_options={"width": 4, "stem_stride": 2},
        data_options=DATA,
    )
    with ThreadPoolExecutor(1) as threads:
        compare(plan, folder, executor=threads, costs=False)
    return folder


def saved(folder, *, preprocessing=None, **config):
    """Save a network as saam train does, with further entries in its config."""
    network = create_model("resnet8", attention="saam", width=4, stem_stride=2, seed=0).eval()
    if preprocessing is not None:
        network.preprocessing = preprocessing
    save_checkpoint(folder, network, json.loads(json.dumps(describe(network))) | config)
    return network


def records(folder, arm):
    """Yield the file and the content of each finished run of an arm."""
    for file in (folder / "runs").glob("*.json"):
        content = json.loads(file.read_text())
        if content["arm"] == arm:
            yield file, content


def test_a_comparison_gives_its_focus_arm_and_the_seed_that_is_best_on_validation(out, tmp_path):
    folder = copytree(out, tmp_path / "cmp")
    for best in (0, 1):
        for file, content in records(folder, "saam"):
            content["validation"]["accuracy"] = 50.0 + (content["seed"] == best)
            content["test"]["accuracy"] = 50.0 - (content["seed"] == best)
            file.write_text(json.dumps(content))
        run = open_run(folder)
        assert (run.title, run.name, list(run.networks)) == (f"cmp, saam, seed {best}", f"cmp-saam-{best}", [best])
        expected = load_model(out, "saam", best).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in run.network.state_dict().items())
    assert run.preprocessing == load_model(out, "saam", 0).preprocessing
    assert "splits" not in vars(run)  # nothing has asked for the data yet
    assert len(run.splits.test) == DATA["test"]


def test_an_arm_and_a_seed_can_be_chosen(out):
    run = open_run(out, arm="none,head=score", seed=0)
    assert (run.title, run.name) == ("cmp, none,head=score, seed 0", "cmp-none-head-score-0")
    assert open_seeds(out, arm="none", seed=1).title == "cmp, none, seed 1"


def test_all_seeds_of_an_arm(out):
    run = open_seeds(out)
    assert (run.title, run.name, list(run.networks)) == ("cmp, saam", "cmp-saam", [0, 1])
    for seed, network in run.networks.items():
        expected = load_model(out, "saam", seed).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("opened", [open_run, open_seeds])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "sam"}, "unknown arm 'sam': did you mean 'saam'"),
        ({"seed": 7}, r"has no finished run of 'saam' with seed 7: expected one of \[0, 1\]"),
    ],
)
def test_a_run_that_a_comparison_lacks(out, opened, options, message):
    with pytest.raises(ValueError, match=message):
        opened(out, **options)


def test_arms_that_have_finished_are_named_if_the_focus_arm_has_not(out, tmp_path):
    folder = copytree(out, tmp_path / "cmp")
    for file, _ in list(records(folder, "saam")):
        file.unlink()
    message = r"no finished run of 'saam': choose one that has \(--arm\): none, none,head=score; or continue with saam "
    for opened in (open_run, open_seeds):
        with pytest.raises(FileNotFoundError, match=message + "compare --plan .*plan.json --out"):
            opened(folder)
    assert open_run(folder, arm="none").title.startswith("cmp, none, seed ")
    for file in (folder / "runs").glob("*.json"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="no finished run of 'saam': none of its arms has; continue with"):
        open_run(folder)


def test_a_single_network(tmp_path):
    network = saved(tmp_path / "own", preprocessing=OWN)
    run = open_run(tmp_path / "own")
    assert (run.title, run.name, list(run.networks), run.preprocessing) == ("own", "own", [0], OWN)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(run.network(x), network(x))
    with pytest.raises(ValueError, match="own does not say on what data the network was trained: pass --data NAME"):
        _ = run.splits
    for options in ({"seed": 0}, {"arm": "saam"}):
        with pytest.raises(ValueError, match="holds one network, not a comparison: leave out arm and seed"):
            open_run(tmp_path / "own", **options)


def test_without_preprocessing_the_data_set_tells(tmp_path):
    saam.save(create_model("resnet8", width=4), tmp_path / "bare")
    with pytest.raises(
        ValueError, match=r"does not say how images become the input .* pass --data NAME.*, or set netw"
    ):
        _ = open_run(tmp_path / "bare").preprocessing
    saved(tmp_path / "trained", data={"name": "photo-digits", "options": DATA})
    wanted = open_run(tmp_path / "trained").preprocessing
    assert (wanted.size, wanted.classes) == ((32, 32), tuple("0123456789"))
    given = ",".join(["photo-digits", *(f"{key}={value}" for key, value in DATA.items())])
    assert open_run(tmp_path / "bare", data=given).preprocessing == wanted


def test_other_data_than_the_run_has(out, tmp_path):
    run = open_run(out, data=GIVEN)
    own = load_model(out, "saam", 0).preprocessing
    assert len(run.splits.test) == 40
    assert run.preprocessing == own  # the network was trained with these colours
    assert (run.splits.mean, run.splits.std) == (own.mean, own.std)
    with pytest.raises(ValueError, match=r"10 classes \(0, 1.*32 x 32 pixels, got photo-digits with .* 40 x 40 pixels"):
        _ = open_run(out, data=f"{GIVEN},size=40").splits
    classes = tuple("abcdefghij")
    saved(tmp_path / "letters", preprocessing=Preprocessing(OWN.size, OWN.mean, OWN.std, classes))
    with pytest.raises(ValueError, match=r"like those of letters, with 10 classes \(a, b.*got .*10 classes \(0, 1"):
        _ = open_run(tmp_path / "letters", data=GIVEN).splits


def test_damage_and_other_versions(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_run(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no saved network in"):
        open_run(tmp_path)
    saved(tmp_path / "net")
    weights = tmp_path / "net" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        open_run(tmp_path / "net")
    config = describe(saved(tmp_path / "newer"))
    config["versions"]["saam"] = "9.0"
    for change in ({"surgery": [{"do": "transplant"}]}, {"model": {**config["model"], "name": "resnet9"}}):
        (tmp_path / "newer" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=r"was written by saam 9\.0, and this is saam .*: install that version"):
            open_run(tmp_path / "newer")
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a study: pass one of the comparisons in it"):
        open_run(tmp_path)


def test_networks_of_a_task_are_left_to_the_task(tmp_path):
    saam.compare(user_code.task, arms=("none", "se"), seeds=2, metrics=[LOSS], out=tmp_path / "own", workers=1)
    with pytest.raises(ValueError, match=r"the function user_code:task, which alone can build .* saam.explain.explain"):
        open_run(tmp_path / "own")
