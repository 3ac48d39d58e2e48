from pathlib import Path

import huggingface_hub
import pytest
import torch

from saam.models import create_model
from saam.models.hub import from_hub, push_to_hub


class Hub:
    """What the mixin asks of the hub, kept in a folder."""

    folder: Path

    def __init__(self, token: str | None = None) -> None:
        pass

    def create_repo(self, repo_id: str, **_: object) -> object:
        return type("Repo", (), {"repo_id": repo_id})()

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str, **_: object) -> str:
        for path in Path(folder_path).iterdir():
            (Hub.folder / path.name).write_bytes(path.read_bytes())
        return f"https://hub/{repo_id}/{commit_message}"


def test_push_and_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub.folder = tmp_path
    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    model = create_model("resnet8", attention="saam", seed=0).eval()
    assert push_to_hub(model, "me/net", commit_message="first") == "https://hub/me/net/first"
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(from_hub(str(tmp_path))(x), model(x))


def test_pull_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saam.models import hub, save

    model = create_model("resnet8", attention="saam", seed=0).eval()
    save(model, tmp_path)
    asked = {}

    def snapshot(repo_id: str, **options: object) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    monkeypatch.setattr(
        huggingface_hub.hub_mixin, "hf_hub_download", lambda repo_id, filename, **_: str(tmp_path / filename)
    )
    loaded = from_hub("me/net", revision="v1")
    assert asked["repo_id"] == "me/net"
    assert asked["revision"] == "v1"
    assert list(loaded.state_dict()) == list(model.state_dict())
