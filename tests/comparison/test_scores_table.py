from collections.abc import Callable

from saam.comparison import Plan, RunRecord
from saam.comparison.scores_table import scores_table


def test_means_deviations_and_verdicts(make_plan: Callable[..., Plan], make_record: Callable[..., RunRecord]) -> None:
    plan = make_plan(arms=("none", "se", "saam"), seeds=(0, 1))
    records = [make_record("none", 0, 90.0, 0.3), make_record("none", 1, 92.0, 0.1), make_record("se", 0, 91.0, 0.25)]
    assert scores_table(records, plan) == [
        ["arm", "seeds", "accuracy", "log-loss", "verdict"],
        ["none", "2", "91.00 ± 1.41", "0.200 ± 0.141", "reference"],
        ["se", "1", "91.00", "0.250", "cannot tell yet"],
        ["saam", "0", "", "", ""],
    ]
    assert scores_table([], plan)[1:] == [
        [arm, "0", "", "", verdict] for arm, verdict in zip(plan.arms, ("reference", "", ""), strict=True)
    ]


def test_without_a_run_of_the_reference_there_is_no_verdict(
    make_plan: Callable[..., Plan], make_record: Callable[..., RunRecord]
) -> None:
    plan = make_plan(arms=("none", "se", "saam"), seeds=(0,))
    rows = scores_table([make_record("se", 0), make_record("saam", 0)], plan)
    assert [row[-1] for row in rows[1:]] == ["reference", "", ""]
