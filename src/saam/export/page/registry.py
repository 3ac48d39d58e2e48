"""The npm registry that npm would use: from the environment, else from a file .npmrc, with the user in its address."""

import base64
import os
import re
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["Registry", "registry"]

_PUBLIC = "https://registry.npmjs.org/"


class Registry(NamedTuple):
    """A registry: its address without user and password, safe to print, and the header that has them."""

    address: str
    """Address that ends in a slash."""
    authorization: str
    """Value of the header "Authorization"; empty if there is no user."""

    def request(self, path: str) -> urllib.request.Request:
        """Return the request for a path; the header is not sent on to another host if the registry redirects."""
        request = urllib.request.Request(self.address + path)
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        return request


def registry() -> Registry:
    """Return the configured registry.

    Raises:
        OSError: If its address is not one of http or https, or a file .npmrc cannot be read.
    """
    return _parsed(_configured())


def _parsed(address: str) -> Registry:
    """Split user and password from an address; errors do not print them.

    Raises:
        OSError: If the address is not one of http or https.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or re.search(
        "[^/]@", address.partition("//")[2][len(parts.netloc) :]
    ):  # such as a slash in a password
        raise OSError(
            "the address of the npm registry is not valid: expected https://host/, or https://user:password@host/ with "
            "both percent-encoded"
        )
    user, _, host = parts.netloc.rpartition("@")
    shown = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/" if host else address.rpartition("@")[2]
    if parts.scheme not in ("https", "http") or not host:
        raise OSError(f"the npm registry must be an https address, got {shown}")
    encoded = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
    return Registry(shown, f"Basic {encoded}" if user else "")


def _configured() -> str:
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry" and value:
            return value
    for file in (Path(".npmrc"), Path.home() / ".npmrc"):
        for line in _lines(file):
            key, _, value = line.partition("=")
            if key.strip() == "registry" and (value := _value(value)):
                return value
    return _PUBLIC


def _lines(file: Path) -> list[str]:
    """Return the lines of a file .npmrc; none if there is no file.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
    except UnicodeDecodeError as error:
        raise OSError(
            f"{file.absolute()} is not text in UTF-8: save it in UTF-8, or set npm_config_registry in the environment"
        ) from error


def _value(text: str) -> str:
    """Return a value of .npmrc without its quotes, and with ${NAME} replaced by that variable, if it is set."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return re.sub(r"\$\{([^${}]+)\}", lambda found: os.environ.get(found[1], found[0]), text)
