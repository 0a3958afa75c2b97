"""The official JavaScript client, with no change but the URL: each method of its builders, found by introspection."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.install import ServerMissingError, cache_folder
from tests.servers.portico import PorticoProcess

SOURCES = Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def client_folder() -> Path:
    """A folder with the cases and the client, installed from its lock once for each of its versions.

    Raises:
        ServerMissingError: Node.js or npm is not there, or the client cannot be installed.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ServerMissingError("The JavaScript client needs Node.js 20 and npm: install them (Debian, Ubuntu: apt install nodejs npm).")
    lock_text = (SOURCES / "package-lock.json").read_bytes()
    folder = cache_folder() / f"postgrest-js-{hashlib.sha256(lock_text).hexdigest()[:12]}"
    with (cache_folder() / "postgrest-js.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules" / ".package-lock.json").exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCES / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            if made.returncode != 0:
                raise ServerMissingError(f"npm could not install the JavaScript client.\n{made.stderr[-2000:]}")
        for source in SOURCES.glob("*.mjs"):
            shutil.copy(source, folder)
    return folder


def test_each_method_of_the_javascript_client_does_what_it_says(library: PorticoProcess, engine: str, client_folder: Path) -> None:
    command = ["node", "run.mjs", f"{library.url}/rest/v1", engine]
    result = subprocess.run(command, cwd=client_folder, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["failures"] == []
    assert told["unknown"] == [], "methods without a case or a reason"
    assert told["passed"] > told["offered"]
