"""The examples of docs/own.md run as they stand, at tiny sizes, each as a script of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saam.comparison import load_comparison

PAGE = Path(__file__).parents[2] / "docs" / "own.md"
EXAMPLES = {
    text.partition(".py")[0].removeprefix("# "): text
    for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
}
TINY = {
    "seeds=7": "seeds=1",
    "train=2000,test=1000": "train=120,validation=50,test=60",
    "demo,epochs=5": "demo,epochs=1,batch_size=40",
    '"train": 2000, "test": 500, "epochs": 10': '"train": 48, "test": 20, "epochs": 2',
}


def run(folder, name, text):
    for usual, tiny in TINY.items():
        text = text.replace(usual, tiny)
    (folder / f"{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "error", f"{name}.py"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_classifier", "own_segmentation"])
def test_examples_run(name, tmp_path):
    if name == "own_segmentation":
        pytest.importorskip("segmentation_models_pytorch")
    done = run(tmp_path, name, EXAMPLES[name])
    assert done.returncode == 0, done.stderr
    comparison = load_comparison(tmp_path / name.replace("_", "-"))
    assert comparison.failures == ()
    assert len(comparison.records) == len(comparison.plan.arms)


def test_every_example_is_run():
    assert list(EXAMPLES) == ["own_classifier", "own_segmentation", "own_resuming"]


@pytest.mark.slow
def test_the_resuming_example_resumes(tmp_path):
    """Its worker is killed once after the fifth epoch."""
    text = EXAMPLES["own_resuming"]
    end = '            file.with_suffix(".new").replace(file)  # whole or not at all\n'
    kill = end + "        if epoch == 5 and done == 0 and arm == 'se':\n            __import__('os')._exit(1)\n"
    records = []
    for name, example in (("whole", text), ("killed", text.replace(end, kill))):
        (tmp_path / name).mkdir()
        assert example != text or name == "whole"
        done = run(tmp_path / name, "own_resuming", example)
        assert done.returncode == 0, done.stderr
        records.append(load_comparison(tmp_path / name / "own-resuming").records)
    assert [(r.test, r.curve) for r in records[0]] == [(r.test, r.curve) for r in records[1]]
    assert len(records[0][1].curve) == 20
