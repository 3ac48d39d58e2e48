import torch

from report.fakes import plan, record
from saam.comparison import Comparison
from saam.report.over_images import over_images

PLANNED = plan(arms=("none", "se"), seeds=2)
WHOLE = Comparison(PLANNED, tuple(record(arm, seed, 80.0, 0.5) for arm, seed in PLANNED.schedule()), ())


def scores(*accuracy: float, loss: float = 0.5) -> dict[str, torch.Tensor]:
    return {"accuracy": torch.tensor(accuracy), "loss": torch.full((len(accuracy),), loss)}


def test_differences_over_seeds_and_images() -> None:
    values = {(arm, seed): scores(100.0 * (arm == "se"), 0.0, 100.0, 100.0) for arm, seed in PLANNED.schedule()}
    found = over_images(values, WHOLE)["accuracy"]["se"]
    assert (found.mean, found.seeds, found.images) == (25.0, 2, 4)


def test_what_is_not_finite_or_of_other_images_is_left_out() -> None:
    values = {(arm, seed): scores(100.0, 0.0, loss=torch.inf) for arm, seed in PLANNED.schedule()}
    assert over_images(values, WHOLE).keys() == {"accuracy"}
    values["se", 1] = scores(100.0)
    assert over_images(values, WHOLE) == {}
    assert over_images({}, WHOLE) == {}


def test_other_images_for_other_seeds_have_no_interval():
    planned = plan(arms=("none", "se"), seeds=2)
    runs = tuple(record(arm, seed, 80.0, 0.5) for arm, seed in planned.schedule())
    scores = {(arm, seed): {"accuracy": torch.rand(10 + seed)} for arm, seed in planned.schedule()}
    assert over_images(scores, Comparison(planned, runs, ())) == {}
