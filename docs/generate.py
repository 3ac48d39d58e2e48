"""Write docs/attentions/ from the registry, so that the pages cannot drift from the code.

python docs/generate.py
"""

import inspect
from pathlib import Path

from saam.nn import AttentionRecord, ChannelAttention, attention_record, create_attention, list_attentions

FOLDER = Path(__file__).parent / "attentions"
RESNET20 = ((16, 32), (32, 16), (64, 8))  # channels and side of the maps in its three stages of three blocks
PLACEMENT = {"residual": "after the last norm of the residual branch, before the addition"}
MADE_BY = "<!-- Made by docs/generate.py from the registry; edit the records, not this page. -->"


def pages() -> dict[str, str]:
    """Return file name -> text: an index, and a page for each family."""
    families: dict[str, list[AttentionRecord]] = {}
    for name in list_attentions():
        families.setdefault(family(name), []).append(attention_record(name))
    return {"index.md": index(families)} | {f"{name}.md": page(name, found) for name, found in families.items()}


def family(name: str) -> str:
    """Return the common part of a name and its variants: ``cbam`` for ``cbam-channel``, ``se`` for ``se:timm``."""
    return name.partition(":")[0].partition("-")[0]


def index(families: dict[str, list[AttentionRecord]]) -> str:
    """Return the table of all attentions."""
    lines = [
        "# Attentions",
        MADE_BY,
        "`saam.create_attention(name, channels, **options)` builds an attention. On the command line, options follow "
        "the name, as in `saam,heads=4`. A colon in a name marks a variant. Modules with the option `squeeze` accept "
        "other squeezes, including the learned `squeeze=score`. `timm:NAME` builds any attention of timm that keeps "
        "the shape of the map, with timm's own options.",
        "\n".join(
            [
                "| name | what it does | parameters | C = 64 | ResNet-20 |",
                "|---|---|---|---:|---:|",
                *(
                    f"| [{record.name}]({name}.md#{anchor(record.name)}) | {record.description} | `{record.formula}` "
                    f"| {count(record, 64):,} | {total(record):,} |"
                    for name, records in families.items()
                    for record in records
                ),
            ]
        ),
        "C is the number of channels, p = C/16 rounded and at least 1, and the maps are H x W. Modules that depend on "
        "the size are counted for 8x8 maps, those that depend on the stage for the first stage. ResNet-20 is the sum "
        "over its nine blocks with 16, 32 and 64 channels, on images of 32x32. The pages give the weight decay of the "
        "authors; saam's own training never decays biases, norms, scorers and other parameters of one dimension.",
    ]
    return "\n\n".join(lines) + "\n"


def page(name: str, records: list[AttentionRecord]) -> str:
    """Return the page of a family."""
    return "\n\n".join([f"# {name}", MADE_BY, *map(section, records)]) + "\n"


def section(record: AttentionRecord) -> str:
    """Return the section of one attention."""
    paper = f"[{record.paper}](https://arxiv.org/abs/{record.arxiv})" if record.arxiv else record.paper
    counts = ", ".join(f"{count(record, channels):,} at C = {channels}" for channels in (16, 64, 256))
    facts = {
        "paper": paper,
        "source": record.source,
        "the paper's placement": PLACEMENT.get(record.placement, record.placement),
        "the authors' weight decay": record.weight_decay,
        "parameters": f"`{record.formula}`: {counts}",
    }
    parts = [f"## {record.name}", f"{record.description[0].upper()}{record.description[1:]}.", formula(record)]
    parts.append("\n".join(f"- {key}: {value}" for key, value in facts.items() if value))
    parts.append("Options and their defaults: " + ", ".join(f"`{option}`" for option in options(record)) + ".")
    if record.notes:
        parts.append(record.notes)
    return "\n\n".join(part for part in parts if part)


def formula(record: AttentionRecord) -> str:
    """Return the parts of a module of the grammar, or the formula in the docstring of another module's file."""
    module = create_attention(record.name, 64, **record.options_at(size=8))
    if isinstance(module, ChannelAttention):
        parts = [type(part).__name__ for part in (module.squeeze, module.excitation, module.gate)]
        return f"`{' -> '.join(parts)}` (squeeze, excitation, gate)."
    written = inspect.getdoc(inspect.getmodule(type(module))) or ""
    return "\n\n".join(block for block in written.split("\n\n") if block.startswith("    "))


def options(record: AttentionRecord) -> list[str]:
    """Return the keyword options as ``name=default``."""
    parameters = inspect.signature(record.build).parameters.values()
    return [f"{option.name}={option.default!r}" for option in parameters if option.kind is option.KEYWORD_ONLY]


def count(record: AttentionRecord, channels: int, side: int = 8, stage: int = 1) -> int:
    """Return the number of parameters."""
    return record.parameters(channels, **record.options_at(size=side, stage=stage))


def total(record: AttentionRecord) -> int:
    """Return the number of parameters in the nine blocks of ResNet-20."""
    return sum(3 * count(record, channels, side, stage) for stage, (channels, side) in enumerate(RESNET20, 1))


def anchor(name: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return name.replace(":", "")


def main() -> None:
    """Write all pages and delete those of removed families."""
    FOLDER.mkdir(exist_ok=True)
    texts = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
