"""A folder of its own for each test, settings loaded from it, and the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from portico.settings import Settings, load

Load = Callable[..., Settings]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> Load:
    """Loads settings from the text of a `portico.yaml` and from variables."""

    def loaded(yaml: str = "", /, **environ: str) -> Settings:
        (folder / "portico.yaml").write_text(yaml, encoding="utf-8")
        return load(None, environ)

    return loaded


@pytest.fixture
def portico(folder: Path) -> Run:
    """Runs the program in the folder with these variables alone."""

    def run(*arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        variables = {**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **(environ or {})}
        command = [sys.executable, "-m", "portico", *arguments]
        return subprocess.run(command, cwd=folder, env=variables, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def shown(portico: Run) -> Callable[..., dict[str, dict[str, object]]]:
    """What `portico config --json` answers for these variables: each setting with its value and source."""

    def settings_of(**environ: str) -> dict[str, dict[str, object]]:
        answer: dict[str, dict[str, object]] = json.loads(portico("config", "--json", environ=environ).stdout)["settings"]
        return answer

    return settings_of
