"""onnxruntime-web: from the cache, else from the configured registry; nothing but the published package is used."""

import base64
import errno
import hashlib
import io
import tarfile
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saam.export.page import runtime, serving
from saam.export.page.runtime import package_file, runtime_files


def package(names=runtime._NAMES):
    """Return a package whose files hold their own names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return file.getvalue()


def full(file):
    """Fail as a disk without space."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Publish a small package, and give this test its own cache and home."""
    content = package()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    monkeypatch.setattr(runtime, "_SHA512", digest)
    monkeypatch.setenv("SAAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return content


@pytest.fixture
def registry(tmp_path):
    """Serve a registry on this machine, and yield its address and the file of the package."""
    file = tmp_path / "registry" / "onnxruntime-web" / "-" / package_file().name
    file.parent.mkdir(parents=True)
    with serving(tmp_path / "registry") as address:
        yield address, file


@pytest.mark.parametrize("place", ["environment", "here", "home"])
def test_it_is_fetched_once_from_the_configured_registry(published, registry, place, monkeypatch, tmp_path):
    address, file = registry
    file.write_bytes(published)
    if place == "environment":
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
    elif place == "here":
        (tmp_path / ".npmrc").write_text(f"audit=false\nregistry = {address}\n")
    else:
        (tmp_path / ".npmrc").write_text(f"registry={address}\n")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    wanted = {name: name.encode() for name in runtime._NAMES}
    assert runtime_files() == wanted
    assert package_file().read_bytes() == published
    file.unlink()
    assert runtime_files() == wanted


def test_another_package_is_refused(published, registry, monkeypatch):
    address, file = registry
    file.write_bytes(package(runtime._NAMES[:1]))
    monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(OSError, match=r"is not the published onnxruntime-web .*, its hash differs: put the file that"):
        runtime_files()
    assert not package_file().exists()


def test_a_damaged_cache_is_named(published):
    package_file().parent.mkdir(parents=True)
    package_file().write_bytes(published[:-1])
    with pytest.raises(OSError, match=r"\.tgz is not the published onnxruntime-web .*: remove it"):
        runtime_files()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "http://localhost:1/",
            r"cannot fetch http://localhost:1/.*\.tgz .*: put the file that `npm pack onnxruntime-web@",
        ),
        ("file:///etc/", "must be an https address, got file:///etc/: put the file that"),
        ("http://localhost:0/", "address of the npm registry is not valid: .*: put the file that"),
    ],
)
def test_a_registry_that_does_not_work_says_what_to_do(published, monkeypatch, address, message):
    monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(OSError, match=message):
        runtime_files()


def test_user_and_password_are_sent_and_not_printed(published, monkeypatch):
    asked = []

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            self.send_response(200 if len(asked) > 1 else 403)
            self.end_headers()
            self.wfile.write(published if len(asked) > 1 else b"")

        def log_message(self, *arguments):
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("npm_config_registry", f"http://me:s%40cret@127.0.0.1:{server.server_port}/npm")
        with pytest.raises(
            OSError, match=r"cannot fetch http://127\.0\.0\.1:\d+/npm/onnxruntime-web/.*Forbidden"
        ) as error:
            runtime_files()
        assert runtime_files()
        server.shutdown()
    assert "cret" not in "".join(traceback.format_exception(error.value))
    assert asked == ["Basic " + base64.b64encode(b"me:s@cret").decode()] * 2


def test_a_cache_that_cannot_be_written_is_named(published, registry, monkeypatch):
    address, file = registry
    file.write_bytes(published)
    monkeypatch.setenv("npm_config_registry", address)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match=r"cannot write .*\.tgz \(No space left on device\): it takes 0\.0 MB; free"):
            runtime_files()
    assert not package_file().parent.exists()
