"""A web server for a page on this machine, with the standard library alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serving"]

_HERE = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Serve the files of a folder with the types and headers that WebAssembly and its threads need."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def end_headers(self) -> None:
        """Add the headers: threads need an isolated page, and a page that is written again must not be cached."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(folder: str | Path, *, port: int = 0) -> Iterator[str]:
    """Serve a folder to this machine within the block, and yield its address.

    Args:
        folder: The folder.
        port: The port; 0 takes a free one.

    Raises:
        OSError: If the port cannot be used.
    """
    try:
        server = ThreadingHTTPServer((_HERE, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise OSError(
            f"cannot serve at port {port} ({error.strerror}): take another port, or 0 for a free one"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
