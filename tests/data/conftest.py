"""What the data tests share: a cache folder of their own, and small folders of images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write random PNG files, `counts` of them in each subfolder; no two are alike."""

    def make(counts: dict[str, int], *, width: int = 10, height: int = 8, name: str = "pets") -> Path:
        rng = np.random.default_rng(5)
        for folder, count in counts.items():
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / folder / f"{i}.png")
        return tmp_path / name

    return make
