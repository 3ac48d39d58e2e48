"""Completion for the shell is offered, can be installed, and completes commands and options."""

import subprocess

import pytest

from saam.cli.main import main


def test_help_offers_completion(capsys):
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"), [("saam comp", {"compare"}), ("saam compare --arm", {"--arms"}), ("saam l", {"list"})]
)
def test_the_installed_script_completes(words, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # whose .bashrc is written too
    script = tmp_path / "saam"
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    last = len(words.split()) - 1
    code = f'source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; _saam; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
