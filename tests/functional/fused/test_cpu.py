"""Why the compiled operations are missing, where they are."""

import sys
import types

import pytest

from saam.functional.fused import cpu


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        (None, "saam-native is not installed; build it from the repository: pip install"),
        (types.SimpleNamespace(interface=0, library="libsaam.so"), "has another version than saam; rebuild it"),
        (types.SimpleNamespace(library="libsaam.so"), "has another version than saam; rebuild it"),
        (
            types.SimpleNamespace(interface=cpu._INTERFACE, library="/no/such.so"),
            r"does not load \(.*such.so.*build it",
        ),
    ],
    ids=["absent", "old", "older", "broken"],
)
def test_why_it_is_missing(installed, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "saam_native", installed)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(cpu._load())
