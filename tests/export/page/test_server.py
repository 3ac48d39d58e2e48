"""The server of a page: right types, isolated pages, this machine alone."""

import urllib.request

import pytest

from saam.export.page import serving


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html"),
        ("app.js", "text/javascript"),
        ("ort.mjs", "text/javascript"),
        ("ort.wasm", "application/wasm"),
        ("page.json", "application/json"),
        ("model.onnx", "application/octet-stream"),
    ],
)
def test_types_and_headers(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"content")
    with serving(tmp_path) as address, urllib.request.urlopen(address + name) as reply:
        assert reply.read() == b"content"
        assert reply.headers.get_content_type() == kind
        assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_a_port_in_use_is_named(tmp_path):
    with serving(tmp_path) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        message = f"cannot serve at port {port} .*: take another port"
        with pytest.raises(OSError, match=message), serving(tmp_path, port=port):
            pass
