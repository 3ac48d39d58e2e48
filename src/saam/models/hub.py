"""Share saved networks on the Hugging Face hub, with huggingface_hub's mixin."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download
from torch import nn

from saam.models.saving import load, save

__all__ = ["from_hub", "push_to_hub"]


def push_to_hub(model: nn.Module, repo_id: str, **options: Any) -> str:
    """Push a network, including its surgery, to a repository ``owner/name`` on the hub.

    Args:
        model: Any network that :func:`saam.save` supports.
        repo_id: Name of the repository, which is created if necessary.
        options: Options of ``huggingface_hub.ModelHubMixin.push_to_hub``, such as ``private``, ``token``,
            ``commit_message``.

    Returns:
        Address of the commit.
    """
    return str(_Shared(model).push_to_hub(repo_id, **options))


def from_hub(repo_id: str, *, model: nn.Module | None = None, attention: Any = None, **options: Any) -> nn.Module:
    """Load a network that was pushed, from the hub or from a local folder.

    Only two files are downloaded, the weights and the description, and nothing that the description refers to; see
    :mod:`saam.models.from_file`.

    Args:
        repo_id: Name of the repository, or path of a folder.
        model: The network before surgery, if :func:`saam.create_model` cannot build it. It is changed in place.
        attention: The function of the channels, if the attention was given as a function.
        options: Options of ``huggingface_hub.snapshot_download``, such as ``revision`` and ``token``.

    Raises:
        ValueError: If a file is damaged, does not fit the network, or requests something that a file may not set.
        OSError: If there is no such repository, it has no network, or a file is missing.
    """
    folder = Path(repo_id)
    if not folder.is_dir():
        allowed = ["model.safetensors", "config.json"]
        folder = Path(snapshot_download(repo_id, **options, allow_patterns=allowed))
    return load(folder, model=model, attention=attention)


class _Shared(ModelHubMixin, library_name="saam", tags=["channel-attention"]):
    """Hold the network for the mixin, which requires a class. Only pushing is used."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self.network, save_directory)
