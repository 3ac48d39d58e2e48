"""``saam list``: what there is to choose from."""

from typing import Literal

from rich.table import Table

from saam.cli.screen import screen

__all__ = ["command"]

Kind = Literal["attentions", "squeezes", "data", "models", "recipes"]


def command(kind: Kind = "attentions", /) -> None:
    """Show the registered attentions, squeezes, data sets, models or recipes.

    Parameters
    ----------
    kind
        What to list.
    """
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS[kind]:
        table.add_column(heading)
    for row in _rows(kind):
        table.add_row(*row)
    screen().print(table)


_HEADINGS: dict[Kind, tuple[str, ...]] = {
    "attentions": ("name", "what it is", "parameters at 64 channels", "paper"),
    "squeezes": ("name",),
    "data": ("name", "what it is"),
    "models": ("name",),
    "recipes": ("name", "what it is for"),
}


def _rows(kind: Kind) -> list[tuple[str, ...]]:
    if kind == "attentions":
        from saam.nn import attention_record, list_attentions

        records = [attention_record(name) for name in list_attentions()]
        return [
            (
                record.name,
                record.description,
                str(record.parameters(64)),
                f"arXiv:{record.arxiv}" if record.arxiv else record.paper,
            )
            for record in records
        ]
    if kind == "squeezes":
        from saam.nn import list_squeezes

        return [(name,) for name in list_squeezes()]
    if kind == "data":
        from saam.data import data_record, list_data

        return [(name, data_record(name).description) for name in list_data()]
    if kind == "models":
        from saam.models import list_models

        return [(name,) for name in (*list_models(), "timm:NAME", "torchvision:NAME")]
    from saam.training import recipes

    return list(recipes().items())
