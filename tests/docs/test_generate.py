"""The pages on the attentions are what the registry says."""

import runpy
from pathlib import Path

from saam.nn import attention_record, list_attentions

DOCS = Path(__file__).parents[2] / "docs"


def test_pages_are_up_to_date():
    pages = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
    written = {path.name: path.read_text() for path in (DOCS / "attentions").glob("*.md")}
    assert sorted(written) == sorted(pages), "run: python docs/generate.py"
    for name, text in pages.items():
        assert written[name] == text, f"{name} differs from the registry; run: python docs/generate.py"


def test_every_attention_has_a_section_and_a_row():
    pages = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
    for name in list_attentions():
        sections = [text for text in pages.values() if f"\n## {name}\n" in text]
        assert len(sections) == 1
        assert attention_record(name).paper in sections[0]
        assert f"| [{name}](" in pages["index.md"]


def test_totals_in_resnet20():
    pages = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
    rows = {line.split("]")[0].strip("| ["): line for line in pages["index.md"].splitlines() if line.startswith("| [")}
    totals = {"se": "2,373", "se:timm": "5,784", "srm": "1,344", "cbam": "3,273", "coord": "8,952", "triplet": "2,700"}
    for name, total in totals.items():
        assert rows[name].endswith(f"| {total} |")
