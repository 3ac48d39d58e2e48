"""Saved networks on the Hugging Face hub, by huggingface_hub's mixin."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download
from torch import nn

from saam.models.saving import load, save

__all__ = ["from_hub", "push_to_hub"]


def push_to_hub(model: nn.Module, repo_id: str, **options: Any) -> str:
    """Push a network, surgery included, to a repository ``owner/name`` on the hub.

    Args:
        model: any network that :func:`saam.save` saves.
        repo_id: of the repository; it is made if need be.
        options: of ``huggingface_hub.ModelHubMixin.push_to_hub``, such as ``private``, ``token``, ``commit_message``.

    Returns:
        Address of the commit.
    """
    return str(_Shared(model).push_to_hub(repo_id, **options))


def from_hub(repo_id: str, *, model: nn.Module | None = None, attention: Any = None, **options: Any) -> nn.Module:
    """Load a network that was pushed, from the hub or from a local folder.

    Args:
        repo_id: of the repository, or path of a folder.
        model: the network before surgery, for one that :func:`saam.create_model` does not make. It is changed in place.
        attention: the function of the channels, for attention that was given by a function.
        options: of ``huggingface_hub.ModelHubMixin.from_pretrained``, such as ``revision`` and ``token``.
    """
    return _Shared.from_pretrained(repo_id, model=model, attention=attention, **options).network


class _Shared(ModelHubMixin, library_name="saam", tags=["channel-attention"]):
    """The mixin wants a class; it holds the network."""

    def __init__(self, network: nn.Module) -> None:  # no name that the mixin could find in config.json
        self.network = network

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self.network, save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        model: nn.Module | None = None,
        attention: Any = None,
        **_: Any,
    ) -> "_Shared":
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=["model.safetensors", "config.json"],
                )
            )
        return cls(load(folder, model=model, attention=attention))
