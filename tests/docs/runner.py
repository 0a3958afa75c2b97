"""Runs the commands of a page as a reader would: in one folder, one after the other, against a real Portico."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.docs.matching import agrees, as_shown
from tests.docs.pages import Block, Step, blocks, steps
from tests.servers.portico import REPOSITORY, PorticoProcess
from tests.servers.process import create_folder

_SERVE = re.compile(r"^(?:make run|portico serve)\b[^\n]*$", re.MULTILINE)
# The tests do not run themselves; and neither is the benchmark a part of them.
_MAKE = re.compile(r"^make (?:test|bench|install|help)\b[^\n]*$", re.MULTILINE)
_ADDRESS = re.compile(r"(?:localhost|127\.0\.0\.1):8001")
_OURS = ("PORTICO_", "DATABASE_URL", "ENVIRONMENT", "DB_", "REDIS_URL", "MONGODB_URL")
_HEADER = re.compile(r"^([A-Za-z-]+): ", re.MULTILINE)
_PRELUDE = """\
set -o pipefail -o allexport
[ -f .state ] && source ./.state
curl() { command curl --silent --show-error --write-out '%{stderr}\\n%{http_code}' "$@"; }
portico() { "$PYTHON" -m portico "$@"; }
trap 'code=$?; export -p > .state; exit $code' EXIT
"""


class PageError(AssertionError):
    """A page says something that is not so; the text says where, what it says and what is."""


class Runner:
    """One page in one folder. Blocks run in their order; `portico serve` starts the service, anew where it runs already."""

    def __init__(self, page: Path, replaced: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Prepare an empty folder.

        Args:
            page: the Markdown file.
            replaced: texts of the page that stand for something of the reader's, with what the test has in their place.
            environment: variables for every command.
        """
        self.page = page
        self.folder = create_folder("docs")
        self.replaced = dict(replaced or {})
        self.environment = dict(environment or {})
        self.service: PorticoProcess | None = None
        (self.folder / "deploy").symlink_to(REPOSITORY / "deploy")

    def run(self) -> int:
        """Run every block; gives how many commands ran. Raises PageError."""
        count = 0
        for block in blocks(self.page):
            if block.file is not None:
                self._write(block.file, block.text)
            elif block.language == "python":
                self._python(block)
                count += 1
            elif block.language == "bash":
                for step in steps(block):
                    self._step(step)
                    count += 1
        return count

    def close(self) -> None:
        """End the service and remove the folder."""
        if self.service is not None:
            self.service.close()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def _write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._fitted(text), encoding="utf-8")

    def _step(self, step: Step) -> None:
        commands = _MAKE.sub("", step.commands)
        if _SERVE.search(commands):
            self._serve()
            commands = _SERVE.sub("", commands)
        if not commands.strip():
            return
        done = self._bash(self._fitted(commands))
        status = _status(done.stderr)
        where = f"{self.page.name}:{step.line}: {step.commands.strip()}"
        if step.answer is None:
            if done.returncode != 0 or (status is not None and status >= 400):
                raise PageError(f"{where}\nended with exit code {done.returncode}, status {status}\n{done.stdout}{done.stderr}")
            return
        headers, body = _split(done.stdout)
        shown = self._fitted(step.answer)
        names = [match[1] for match in _HEADER.finditer(shown)] if headers else []
        answered = as_shown(status, headers, names, body or done.stderr if status is None else body)
        if not agrees(shown, answered):
            raise PageError(f"{where}\nshows\n{shown}\nand answers\n{answered}\n{done.stderr if status is None else ''}")

    def _python(self, block: Block) -> None:
        shown = "\n".join(line.removeprefix("# → ") for line in block.text.splitlines() if line.startswith("# → "))
        script = self.folder / "snippet.py"
        script.write_text(self._fitted(block.text), encoding="utf-8")
        done = self._bash('"$PYTHON" snippet.py')
        where = f"{self.page.name}:{block.line}: the Python snippet"
        if done.returncode != 0:
            raise PageError(f"{where}\nended with exit code {done.returncode}\n{done.stderr}")
        if not agrees(self._fitted(shown), done.stdout):
            raise PageError(f"{where}\nshows\n{shown}\nand prints\n{done.stdout}")

    def _serve(self) -> None:
        if self.service is not None:
            self.service.stop()
            self.service.close()
        file = self.folder / "portico.yaml"
        config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        http = {name: value for name, value in config.get("http", {}).items() if name not in {"host", "port"}}
        self.service = PorticoProcess(config | {"http": http}, folder=self.folder, environment=self._exported(), warm=True).start()

    def _exported(self) -> dict[str, str]:
        """What the page's commands have exported so far, for the service."""
        if not (self.folder / ".state").exists():
            return self.environment
        listed = subprocess.run(
            ["bash", "-c", "source ./.state; env -0"], cwd=self.folder, capture_output=True, text=True, check=True, env={}
        ).stdout
        pairs = (entry.partition("=") for entry in listed.split("\0") if entry)
        kept = {name: value for name, _, value in pairs if name.startswith(_OURS)}
        kept.pop("PORTICO_HTTP__PORT", None)
        return self.environment | kept

    def _bash(self, commands: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environment = ours | {"PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY / "src")} | self.environment
        port = f"PORTICO_HTTP__PORT={self.service.port}" if self.service is not None else ""
        return subprocess.run(
            ["bash", "-c", f"{_PRELUDE}{port}\n{commands}"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _fitted(self, text: str) -> str:
        """A text of the page with the test's own address, and whatever else the test has in place of the reader's."""
        if self.service is not None:
            text = _ADDRESS.sub(f"127.0.0.1:{self.service.port}", text)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text


def _status(errors: str) -> int | None:
    last = errors.strip().rpartition("\n")[2]
    return int(last) if re.fullmatch(r"[0-9]{3}", last) else None


def _split(output: str) -> tuple[dict[str, str], str]:
    """The headers that `curl -i` printed, by their names in lower case, and what is left."""
    if not output.startswith("HTTP/"):
        return {}, output
    head, _, body = output.replace("\r\n", "\n").partition("\n\n")
    pairs = (line.partition(": ") for line in head.splitlines()[1:])
    return {name.lower(): value for name, _, value in pairs}, body
