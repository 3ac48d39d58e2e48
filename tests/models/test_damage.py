"""A saved network's files, damaged by a few hundred mutations: one clear line each, at once."""

import json
import os
import random
import time
from pathlib import Path

import pytest

from mutations import mutate
from saam.models import create_model, load, save
from saam.surgery import upgrade

MUTATIONS = 120


def test_descriptions(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam", width=2)
    upgrade(model, head=True, where=[])
    model.layer1[0].bn2.attention.squeeze.temperature = 0.5
    whole = (save(model, tmp_path) / "config.json").read_bytes()
    assert "temperatures" in json.loads(whole)
    draw, refused = random.Random(0), 0
    for _ in range(MUTATIONS):
        content = mutate(whole, draw)
        (tmp_path / "config.json").write_bytes(content)
        start = time.process_time()
        try:
            load(tmp_path)
        except ValueError as error:
            assert str(tmp_path) in str(error), error  # noqa: PT017
            assert len(str(error)) < 3000, error  # noqa: PT017
            refused += 1
        assert time.process_time() - start < 5, content[:1000]
    assert refused > MUTATIONS // 4


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04", b"\x80\x04.", b"{}"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_is_something_else(name: str, content: bytes, tmp_path: Path) -> None:
    save(create_model("resnet8", width=2), tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pipe_does_not_block(name: str, tmp_path: Path) -> None:
    save(create_model("resnet8", width=2), tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match="is not a regular file"):
        load(tmp_path)
