"""Surgery on one network of each kind of architecture; docs/zoo.py does the same to all of them."""

import pytest

from networks import SAMPLE, check, names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE.split())
def test_surgery(name: str) -> None:
    row = check(name, export=False)
    assert row.failures == []
    assert row.attached > 0
    assert row.difference == "none"


def test_the_sample_is_of_the_zoo() -> None:
    assert len(SAMPLE.split()) == 30
    assert set(SAMPLE.split()) <= set(names())
