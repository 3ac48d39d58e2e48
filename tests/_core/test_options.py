import random
import re
import time

import pytest

from saam._core.options import _parts, parse_options


def test_commas_within_brackets_do_not_split():
    assert _parts("a,b=(1,2),c=[3,(4,5)]") == ["a", "b=(1,2)", "c=[3", "(4,5)]"]
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices("a=1,()[]", k=12))
        assert _parts(text) == re.split(r",(?![^(\[]*[)\]])", text)


def test_long_and_deep_texts_take_no_time():
    start = time.process_time()
    with pytest.raises(ValueError, match="expected 'name,option=value"):
        parse_options("se" + "," * 200_000)
    assert parse_options("se,x=" + "(" * 20_000)[1]["x"] == "(" * 20_000
    assert parse_options("se,x=" + "(" * 300 + ")" * 300)[0] == "se"
    assert time.process_time() - start < 5
