"""Tables for notebooks."""

from collections.abc import Sequence
from html import escape

__all__ = ["html_table"]


def html_table(rows: Sequence[Sequence[str]], *, caption: str = "", below: Sequence[str] = ()) -> str:
    """Return a table as HTML, with all text escaped.

    Args:
        rows: The header, then the rows; their first cell names the row.
        caption: Text above the table.
        below: Lines below it.
    """
    header, *body = rows
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in body
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    notes = "".join(f"<p>{escape(line)}</p>" for line in below)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{notes}"
