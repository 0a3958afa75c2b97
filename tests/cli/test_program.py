"""The program itself: its version, and its list of verbs."""

import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from portico import __version__
from portico.cli.program import VERBS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "portico", *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_the_version_needs_no_verb():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"portico {__version__}\n")


def test_help_lists_every_verb():
    done = run("--help")
    assert done.returncode == 0
    assert [verb for verb in VERBS if verb not in done.stdout] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(verb: str):
    done = run(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verb_that_is_not_there_yet_says_so():
    for verb in (verb for verb, (module, _) in VERBS.items() if find_spec(module) is None):
        done = run(verb, "up", "--any")
        assert (done.returncode, done.stderr.splitlines()[0]) == (1, f"portico: portico {verb} is not there yet.")


def test_a_port_that_somebody_listens_on_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr
    assert list(tmp_path.iterdir()) == []
