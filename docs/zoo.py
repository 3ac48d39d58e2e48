"""Do surgery on every family of convolutional networks, and write what came of it to docs/zoo.md.

python docs/zoo.py                       all networks, about 80 minutes
python docs/zoo.py timm:resnet18 ...     some of them; the other rows stay as they are
python docs/zoo.py --check               fail if the page lacks a network or is not what this command writes

The check of one network and the list of all are in tests/networks.py, and the tests run a sample of it.
"""

import gc
import platform
import re
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import torch

import saam

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from networks import Row, check, names

PAGE = Path(__file__).with_name("zoo.md")
WHAT = """\
For each network, with random weights and a small input: `attach(model, "saam")` with an identity start, *change of
outputs* by that ("none" is bit-equal; an `se` with its own start must change them), `detach` back to the same keys and
outputs, two training steps in which every new parameter gets a finite gradient, `upgrade` of existing attention
(*upgraded* modules) without a change of the function in float64 and back, and `torch.export` of the network with
attention. *where* is "residual", or "stage" in a network without branches.

| network | M parameters | where | sites | change of outputs | upgraded | torch.export | result |
|---|---:|---|---:|---|---:|---|---|
"""


def line(row: Row) -> str:
    """Return the row of the table for one network."""
    return (
        f"| `{row.name}` | {row.millions:.1f} | {row.where} | {row.attached} | {row.difference} | {row.upgraded} | "
        f"{row.export} | {'; '.join(row.failures) or 'passes'} |"
    )


def page(made: str, lines: dict[str, str]) -> str:
    """Return the page: how it was made, and the rows by name in the order of the list."""
    rows = [lines[name] for name in names() if name in lines]
    passed = sum(row.endswith("| passes |") for row in rows)
    table = "\n".join(rows)
    return f"# Surgery on the zoo\n\n{passed} of {len(rows)} networks pass.\n\n{made}\n\n{WHAT}{table}\n"


def parts(text: str) -> tuple[str, dict[str, str]]:
    """Return how a page was made, and its rows by name."""
    made = re.search(r"networks pass\.\n\n(.*?)\n\nFor each", text, re.DOTALL)
    return made[1] if made else "", {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}


def fault(text: str) -> str:
    """Return what is wrong with a page, or nothing."""
    made, lines = parts(text)
    if missing := [name for name in names() if name not in lines]:
        return f"docs/zoo.md lacks {', '.join(missing)}: run python docs/zoo.py {' '.join(missing)}"
    return "" if text == page(made, lines) else "docs/zoo.md is not what python docs/zoo.py writes: run it"


def main() -> None:
    """Write the page, or check it."""
    if sys.argv[1:] == ["--check"]:
        sys.exit(fault(PAGE.read_text(encoding="utf-8")) or 0)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    made, lines = parts(PAGE.read_text(encoding="utf-8")) if sys.argv[1:] else ("", {})
    start = time.perf_counter()
    for name in sys.argv[1:] or names():
        lines[name] = line(check(name))
        print(lines[name], flush=True)
        gc.collect()
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in ("torch", "timm", "torchvision"))
    what = f"`python {' '.join(['docs/zoo.py', *sys.argv[1:]])}` in {(time.perf_counter() - start) / 60:.1f} minutes"
    machine = f"Python {platform.python_version()} on {platform.machine()}, {torch.get_num_threads()} thread(s)"
    entry = f"- {what}: saam {saam.__version__}, {versions}, {machine}"
    PAGE.write_text(page(f"{made}\n{entry}".lstrip(), lines), encoding="utf-8")


if __name__ == "__main__":
    main()
