"""Changes to the text of a JSON file, one at a time, as damage or a stranger would make them."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e-320, 1e300, 2**63, 2**70, 10**400, float("nan"), float("inf")),
    *("", "x", "0", "none", "../../x", "\ud800", "\x1b[31m", "a" * 10_000, [], {}, [[]], [1], ["x"], {"x": 1}, [{}]),
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in JSON values, as the keys that lead there."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def mutate(text: bytes, draw: random.Random) -> bytes:
    """Change one thing in a JSON file: a value, a key, an entry, or bytes."""
    how = draw.choice(["value"] * 8 + ["remove", "rename", "twice", "cut", "bytes", "deep"])
    if how == "cut":
        return text[: draw.randrange(len(text))]
    if how == "bytes":
        at = draw.randrange(len(text))
        return text[:at] + draw.randbytes(draw.choice([1, 1, 8])) + text[at + 1 :]
    values = json.loads(text)
    *parents, last = draw.choice([path for path in places(values) if path])
    part = values
    for key in parents:
        part = part[key]
    if how == "value":
        part[last] = draw.choice(VALUES)
    elif how == "deep":
        part[last] = "DEEP"
        return json.dumps(values).replace('"DEEP"', nested(draw.choice([40, 5000, 100_000]))).encode()
    elif how == "twice" and isinstance(part, list):
        part.insert(last, copy.deepcopy(part[last]))
    elif isinstance(part, dict):
        old = part.pop(last)
        if how == "rename":
            part[f"{last}x"] = old
    else:
        part.pop(last)
    return json.dumps(values).encode()
