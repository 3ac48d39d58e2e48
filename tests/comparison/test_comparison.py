"""A comparison as a value: in a shell, in a notebook, as a frame."""

from collections.abc import Callable
from dataclasses import replace

from saam.comparison import Comparison, Job, Plan, RunRecord
from saam.comparison.job import failure


def test_a_comparison_is_short_in_a_shell_and_a_table_in_a_notebook(
    make_plan: Callable[..., Plan], make_record: Callable[..., RunRecord]
) -> None:
    plan = make_plan(arms=("none", "se"), seeds=(0, 1))
    whole = Comparison(plan, (make_record("none", 0),), ())
    assert repr(whole) == "Comparison(resnet8 on photo-digits: none, se; 1 of 4 runs)"
    failed = failure(Job(plan, "se", 0, "f" * 16), "OSError:\n  gone")
    assert repr(replace(whole, failures=(failed,))).endswith(
        "1 of 4 runs; 1 failed, the first is se, seed 0: OSError: gone)"
    )
    page = whole._repr_html_()
    assert f"<caption>{whole!r}</caption>" in page
    assert "<td>90.00</td>" in page


def test_a_comparison_is_a_frame_with_one_row_for_each_run(
    make_plan: Callable[..., Plan], make_record: Callable[..., RunRecord]
) -> None:
    plan, records = make_plan(arms=("none", "se"), seeds=(0, 1)), (make_record("none", 0), make_record("se", 0))
    frame = Comparison(plan, records, ()).to_frame()
    assert [(row.arm, row.seed) for row in frame.itertuples()] == [("none", 0), ("se", 0)]
    assert {"parameters", "seconds", "finished", "id"} < set(frame.columns)
    for name, score in records[1].test.items():
        assert frame[f"test_{name}"][1] == score
    for name, score in records[1].validation.items():
        assert frame[f"validation_{name}"][1] == score
