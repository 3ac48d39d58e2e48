"""Report the effect of an operation on a network, site by site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from saam._core.devices import doubled
from saam._core.html import html_table
from saam.functional import use_backend
from saam.functional.arithmetic import MacCounter
from saam.surgery.modules import replace as replace_modules
from saam.surgery.probe import at_rest, call
from saam.surgery.surgical import Attended

__all__ = ["Change", "SurgeryReport", "measured"]


@dataclass(frozen=True)
class Change:
    """One changed place."""

    site: str
    """Name of the module in the network."""
    channels: int
    """Channels of the map; 0 where they are not known."""
    action: str
    """What was added or removed."""
    parameters: int
    """Parameters added; negative if removed."""
    size: tuple[int, int] | None = None
    """Height and width of the map for the example."""
    macs: int | None = None
    """Multiply-accumulates added for one image of the example's size; None if no example was given."""
    kind: str = ""
    """Kind of the site, see :func:`saam.sites`; "module" for a site selected by name."""


@dataclass(frozen=True)
class SurgeryReport:
    """All changed places, in the order of the network. Printing it shows a table."""

    changes: tuple[Change, ...]
    difference: float | None = None
    """Largest absolute change of an output on the example, in evaluation mode; None without an example with values."""
    relative_difference: float | None = None
    """The same, relative to the largest output."""
    left: tuple[tuple[str, str], ...] = ()
    """Places that were not changed, each with the reason."""
    notes: tuple[str, ...] = ()
    """Further notes."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the changed places."""
        return tuple(change.site for change in self.changes)

    @property
    def parameters(self) -> int:
        """Total number of parameters added."""
        return sum(change.parameters for change in self.changes)

    @property
    def macs(self) -> int | None:
        """Total multiply-accumulates added for one image; None if no example was given."""
        counts = [change.macs for change in self.changes if change.macs is not None]
        return sum(counts) if len(counts) == len(self.changes) and counts else None

    @property
    def preserved(self) -> bool | None:
        """Whether the outputs on the example are the same up to rounding; None if no example was given."""
        return None if self.relative_difference is None else self.relative_difference <= 1e-4

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, *self._remarks()])

    def __repr__(self) -> str:
        return f"SurgeryReport({_sites(len(self.changes))}, {self.parameters:+d} parameters)"

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return html_table(self._rows(), below=self._remarks())

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the header, one row for each change, and the total; without columns that are empty."""
        rows = [("site", "channels", "change", "parameters", "MACs")]
        rows += [(c.site, str(c.channels or ""), c.action, f"{c.parameters:+d}", _signed(c.macs)) for c in self.changes]
        kinds = {change.kind for change in self.changes}
        total = _sites(len(self.changes), kinds.pop() if len(kinds) == 1 else "")
        rows += [("total", "", total, f"{self.parameters:+d}", _signed(self.macs))]
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        return list(zip(*(columns if self.macs is not None else columns[:4]), strict=True))

    def _remarks(self) -> list[str]:
        """Return the change of the outputs, the places that were left alone, and the notes."""
        lines = [] if self.difference is None else [f"largest change of an output: {self.difference:.3g}"]
        for reason in dict.fromkeys(reason for _, reason in self.left):
            names = [name for name, why in self.left if why == reason]
            which = names[0] if len(names) == 1 else f"{_sites(len(names))}, {names[0]} to {names[-1]}"
            lines.append(f"left alone: {which}: {reason}")
        return lines + [f"note: {note}" for note in self.notes]


def measured(
    model: nn.Module,
    changes: Sequence[Change],
    replacements: Mapping[nn.Module, nn.Module],
    example: Any,
    **fields: Any,
) -> SurgeryReport:
    """Replace modules and report it; with an example, run the network before and after it and count what was added.

    If an error occurs, for example because the network does not run afterwards, the replacement is undone.
    """
    before = None if example is None else _outputs(model, example)
    try:
        replace_modules(model, replacements)
        if before is None:
            return SurgeryReport(tuple(changes), **fields)
        after = _outputs(model, example)
        counted = tuple(replace(entry, macs=_macs(model, entry)) for entry in changes)
    except BaseException:
        replace_modules(model, {new: old for old, new in replacements.items()})
        raise
    if any(output.is_meta for output in before):
        return SurgeryReport(counted, **fields)
    difference = max((float((b - a).abs().max()) for b, a in zip(before, after, strict=True)), default=0.0)
    scale = max((float(b.abs().max()) for b in before), default=0.0)
    relative = difference / scale if scale else difference
    return SurgeryReport(counted, difference, relative, **fields)


def _outputs(model: nn.Module, example: Any) -> list[Tensor]:
    with at_rest(model):
        leaves = tree_leaves(call(model, example))
    return [doubled(leaf) for leaf in leaves if isinstance(leaf, Tensor) and leaf.numel()]


def _macs(model: nn.Module, change: Change) -> int | None:
    module = model.get_submodule(change.site)
    if not isinstance(module, Attended) or change.size is None:
        return None
    like = next(module.attention.parameters(), torch.empty(0))
    x = torch.zeros(1, change.channels, *change.size, device=like.device, dtype=like.dtype)
    counter = MacCounter()
    with at_rest(module.attention), use_backend("eager"), counter:
        module.attention(x)
    return counter.total


def _sites(count: int, kind: str = "") -> str:
    known = f"{kind} " if kind not in ("", "module") else ""
    return f"{count} {known}site{'' if count == 1 else 's'}"


def _signed(count: int | None) -> str:
    return "" if count is None else f"{count:+d}"
