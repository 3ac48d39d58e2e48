"""The examples of every page run as they stand, and every relative link leads to a file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = ("own.md", "cluster.md")  # each example is a script; tests/docs/test_own.py runs those of own.md
EXAMPLES = {page: re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE) for page in PAGES}
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|#|gallery/)([^)#\s]+)(?:#[^)\s]*)?\)")
TINY = {
    '"resnet20", "cifar10"': '"resnet8,width=8,stem_stride=2", "photo-digits,train=120,validation=40,test=60", '
    'recipe="demo,epochs=1", arms=["none"], seeds=1, costs=False',
    "/shared/": "",
    "threads=4": "threads=1",
    ", gpus=0.5": "",
    '"auto"': "None",
    '"tcp://scheduler:8786"': "n_workers=1, threads_per_worker=1, dashboard_address=None",
}


def short(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page", [page for page, found in EXAMPLES.items() if found and page.name not in SCRIPTS], ids=short
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for example in EXAMPLES[page]:
        exec(compile(example, page.name, "exec"), scope)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES[ROOT / "docs" / "cluster.md"])
def test_examples_of_clusters_run_on_this_machine(example, tmp_path):
    for usual, tiny in TINY.items():
        example = example.replace(usual, tiny)
    (tmp_path / "script.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "comparison" / "runs").glob("*.json")]) == 1


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


def test_readme_and_landing_page_show_the_table_of_the_results():
    def rows(page):
        lines = (ROOT / page).read_text().splitlines()
        return [line for line in lines if re.match(r"\| (arm|none|wider|se|saam) \|", line)]

    assert len(rows("README.md")) == 5
    assert rows("docs/index.md") == rows("README.md")
    assert rows("docs/results/cifar-small.md")[:5] == rows("README.md")
