from saam._core.errors import one_line, printable


def test_what_a_terminal_would_obey_is_spelled_out():
    assert printable("a\x1b[31mb\x07\n\ud800\u2028\x9b") == r"a\x1b[31mb\x07\n\ud800\u2028\x9b"


def test_letters_and_spaces_of_all_languages_stay():
    text = "r\u00e9sum\u00e9 \u00a0\u3000 \u732b \u2212 \U0001f431"
    assert printable(text) == text


def test_a_foreign_error_becomes_one_line():
    assert one_line(RuntimeError("Error:\n\tmissing keys\n\tmore")) == "Error: missing keys more"
    long = one_line(RuntimeError("x " * 1000))
    assert len(long) == 300
    assert long.endswith("...")
