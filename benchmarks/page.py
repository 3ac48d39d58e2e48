"""What the pages of the benchmarks share: the circumstances, the command, and how a spread is written."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import quantiles

import torch

import saam
from saam._core.machine import processor


def write_page(out: Path | None, title: str, about: str, facts: Mapping[str, str], *tables: str) -> None:
    """Write a page with title, explanation, circumstances and tables, or print it if ``out`` is None."""
    known = {**facts, "command": facts.get("command", command())}
    listed = "\n".join(f"- {name}: {fact}" for name, fact in known.items())
    page = "\n\n".join([f"# {title}", about.strip(), listed, *tables])
    if out is None:
        print(page)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page + "\n")
        print(f"wrote {out}")


def machine(threads: int) -> str:
    """Return the processor, the number of threads and the operating system."""
    return f"{processor()}, {os.cpu_count()} processors, threads: {threads}; {platform.platform()}"


def versions(*packages: str) -> str:
    """Return the versions of saam, torch, these packages and Python."""
    others = (f"{name} {metadata.version(name)}" for name in packages)
    known = f"saam {saam.__version__}", f"torch {torch.__version__}", *others, f"Python {platform.python_version()}"
    return ", ".join(known)


def command() -> str:
    """Return the command that runs this script, in Markdown."""
    return f"`python {shlex.join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])}`"


def ratios(times: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [time / other for time, other in zip(times, others, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median and, in brackets, the quartiles."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
