"""The npm registry: where it is configured, what .npmrc may hold, and what is never printed."""

import traceback

import pytest

from saam.export.page.registry import registry


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", "npm.example.org")
    monkeypatch.chdir(tmp_path)
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("", "https://registry.npmjs.org/"),
        ("registry=", "https://registry.npmjs.org/"),
        ("registry = https://a.org/npm//", "https://a.org/npm/"),
        ('registry="https://a.org"', "https://a.org/"),
        ("registry = 'https://a.org:8443/'", "https://a.org:8443/"),
        ("registry=https://${PLACE}/x", "https://npm.example.org/x/"),
        ('"registry=https://b.org/"\nregistry="http://${PLACE}"', "http://npm.example.org/"),
        ("\ufeffregistry=http://[::1]:4873/@scope", "http://[::1]:4873/@scope/"),
    ],
)
def test_lines_of_npmrc(line, address, tmp_path):
    (tmp_path / ".npmrc").write_text(line, encoding="utf-8")
    assert registry() == (address, "")


def test_a_variable_that_is_not_set_is_shown(tmp_path):
    (tmp_path / ".npmrc").write_text("registry=${NOWHERE}")
    with pytest.raises(OSError, match=r"must be an https address, got \$\{NOWHERE\}"):
        registry()


def test_npmrc_in_another_encoding_is_named(tmp_path):
    (tmp_path / ".npmrc").write_bytes("registry=https://a.org/  # für".encode("latin-1"))
    with pytest.raises(OSError, match=r"\.npmrc is not text in UTF-8: save it in UTF-8, or set npm_config_registry"):
        registry()


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me:secret@a.org/",
        "me:secret@a.org",
        "http://me:sec/ret@a.org/",
        "http://me:1/secret@a.org/",
        "http://me:1?secret@a.org/",
        "http://me:secret#@a.org/",
        "http://me:secret@[a.org/",
        "http://me:secret@a.org:none/",
    ],
)
def test_no_error_prints_a_password(address, monkeypatch):
    monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(OSError, match="npm registry") as error:
        registry()
    assert "ret" not in "".join(traceback.format_exception_only(error.value))
