"""The arms and seeds of a comparison: check them, normalise their spelling, and put them in the order of execution."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saam._core.errors import printable, unknown
from saam._core.objects import reference_to
from saam.comparison.arm import CONTROLS, PLAIN, WIDER, Arm, is_own
from saam.nn import list_attentions

__all__ = ["MOST_SEEDS", "checked_sides", "schedule"]

MOST_SEEDS = 10_000
_LARGEST_SEED = 10**18

Side = str | Callable[..., Any]


def checked_sides(
    arms: Sequence[Side] | Mapping[str, Side],
    seeds: Sequence[int],
    reference: str,
    focus: str,
    aliases: Mapping[str, str],
) -> dict[str, Any]:
    """Return the fields of a plan that define what is compared.

    Args:
        arms: Labels, or the user's own classes, which are labelled with their name; or a mapping from labels to these.
        seeds: The seeds; every arm has one run per seed.
        reference: The arm to compare the others with. Default: "none", or else the first arm.
        focus: The arm that the report is about. Default: the first of the user's own, else the first score-based one,
            else the last that is neither a control nor the reference.
        aliases: Labels that are not names -> the arms that they stand for.

    Returns:
        "arms" (labels), "seeds", "reference", "focus" and "aliases".

    Raises:
        ValueError: If arms or seeds are empty or given twice, an attention is unknown, or the reference or focus is not
            an arm.
        TypeError: If seeds are not integers.
    """
    aliases = dict(aliases)
    labels = []
    sides = [(label, arm if isinstance(arm, str) else reference_to(arm)) for label, arm in _labelled(arms)]
    short = Counter(_short(spelled) for _, spelled in sides)
    for label, spelled in sides:
        if not label and spelled not in aliases and (name := _short(spelled)) and short[name] == 1:
            label = name
        if label and label != spelled:
            if label != printable(label) or not label.strip():
                raise ValueError(f"an arm needs a label that can be printed, got {printable(label)!r}")
            if label in CONTROLS:
                raise ValueError(f"the label {label!r} is that of a control: give {spelled!r} another one")
            aliases[label] = Arm(spelled).label
            labels.append(label)
        else:
            labels.append(spelled if spelled in aliases else Arm(spelled).label)
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise TypeError(f"seeds must be integers, got {tuple(seeds)}")
    if len(seeds) > MOST_SEEDS:
        raise ValueError(f"a comparison takes at most {MOST_SEEDS:,} seeds, got {len(seeds):,}")
    both: dict[str, list[Any]] = {"arms": labels, "seeds": list(seeds)}
    for kind, entries in both.items():
        if not entries:
            raise ValueError(f"a comparison needs {kind}, got none")
        if len(set(entries)) < len(entries):
            twice = sorted({str(entry) for entry in entries if entries.count(entry) > 1})
            raise ValueError(f"{kind} must differ from each other, got {', '.join(twice)} more than once")
    if min(seeds) < 0:
        raise ValueError(f"seeds must be 0 or above, got {min(seeds)}")
    if max(seeds) > _LARGEST_SEED:
        raise ValueError(f"seeds must be at most 10**18, got {max(seeds)}")
    spelled_arms = {label: Arm(aliases.get(label, label)) for label in labels}
    compared_with = reference or (PLAIN if PLAIN in labels else labels[0])
    own = [label for label, arm in spelled_arms.items() if arm.own]
    scored = [label for label, arm in spelled_arms.items() if arm.scored]
    rivals = [label for label, arm in spelled_arms.items() if not arm.control and label != compared_with]
    first = next(iter([*own, *scored, *reversed(rivals), *reversed(labels)]))
    ends = {"reference": compared_with, "focus": focus or first}
    named = {spelled: label for label, spelled in aliases.items() if label in labels}
    for kind, label in ends.items():
        if label not in labels:
            spelled = Arm(label).label
            if (label := named.get(spelled, spelled)) not in labels:
                raise unknown(f"{kind} arm", label, labels)
        ends[kind] = label
    used = {label: spelled for label, spelled in aliases.items() if label in labels}
    return {"arms": tuple(labels), "seeds": tuple(seeds), "aliases": used, **ends}


def _labelled(arms: Sequence[Side] | Mapping[str, Side]) -> list[tuple[str, Side]]:
    return list(arms.items()) if isinstance(arms, Mapping) else [("", arm) for arm in arms]


def _short(spelled: str) -> str:
    """Return ``Name,options`` for ``package.module:Name,options``, and nothing for an attention of the library."""
    name, comma, options = spelled.partition(",")
    short = name.rpartition(":")[2]
    if not is_own(name.strip()) or short in (PLAIN, WIDER, *list_attentions()):
        return ""
    return short + comma + options


def schedule(arms: Sequence[str], seeds: Sequence[int], stopped: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return (arm, seed) of every run: all arms of the first seed, then of the next, so that pairs fill up early.

    Args:
        arms: Labels.
        seeds: Seeds in their order.
        stopped: Arms that have enough seeds -> their number of seeds.
    """
    return tuple(
        (arm, seed) for count, seed in enumerate(seeds) for arm in arms if count < stopped.get(arm, len(seeds))
    )
