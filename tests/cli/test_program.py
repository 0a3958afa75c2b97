"""The program itself: its version, and its list of verbs."""

import subprocess
import sys

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
