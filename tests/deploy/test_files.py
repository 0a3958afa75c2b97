"""The image, the Compose files, the Kubernetes manifests and `.env.template` fit Portico as it is."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.api.routes import ROUTERS
from tests.servers.portico import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
DEVELOPMENT = DEPLOY / "compose.dev.yaml"
PRODUCTION = DEPLOY / "compose.production.yaml"
PROBES = {"startupProbe": "/health/startup", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
MIGRATION_URL = "postgresql://migrator:a-long-random-password@postgres:5432/appdb?sslmode=verify-full"


def compose(file: Path) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    return services


def manifests() -> Iterator[dict[str, Any]]:
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def pod(manifest: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def secrets(folder: Path) -> dict[str, Path]:
    """Files as a reader makes them, by the name of the secret."""
    texts = {"secret_key": "s" * 64, "appuser_password": "p" * 64, "migration_url": MIGRATION_URL, "ca_certificate": "", "ca.crt": ""}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


def check(environment: Mapping[str, str], *arguments: str) -> list[str]:
    """The unsafe settings that `portico config` finds with these variables; it must understand all of them."""
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "src")}
    command = [sys.executable, "-m", "portico", "config", "--json", *arguments]
    done = subprocess.run(command, env=base | dict(environment), cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {0, 1}, done.stderr
    unsafe: list[str] = json.loads(done.stdout)["unsafe"]
    return unsafe


@pytest.mark.parametrize("file", [DEVELOPMENT, PRODUCTION], ids=lambda file: file.name)
def test_compose_mounts_only_files_that_are_there(file: Path):
    mounted = re.findall(r"(\./[\w./-]+):/", file.read_text(encoding="utf-8"))
    assert [name for name in mounted if not (DEPLOY / name).exists()] == []


@pytest.mark.parametrize("file", [DEVELOPMENT, PRODUCTION], ids=lambda file: file.name)
def test_compose_opens_ports_on_this_machine_alone(file: Path):
    ports = [str(port) for service in compose(file).values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_development_settings_of_compose_are_understood():
    environment = compose(DEVELOPMENT)["portico"]["environment"]
    assert check(environment | {"PORTICO_HTTP__HOST": "0.0.0.0"}) == []


def test_the_development_databases_are_as_documented():
    services = compose(DEVELOPMENT)
    check_of_database = services["postgres"]["healthcheck"]
    assert (check_of_database["interval"], check_of_database["timeout"], check_of_database["retries"]) == ("10s", "5s", 5)
    assert services["postgres"]["ports"] == ["127.0.0.1:5433:5432"]
    assert " ".join(services["redis"]["command"]) == ("redis-server --appendonly yes --maxmemory 256mb --maxmemory-policy allkeys-lru")
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}


@pytest.mark.parametrize("name", ["portico", "init-db"])
def test_the_production_settings_of_compose_are_safe(name: str, tmp_path: Path):
    environment = compose(PRODUCTION)[name]["environment"]
    files = secrets(tmp_path)
    fitted = {key: re.sub(r"/run/secrets/(\w+)", lambda match: str(files[match[1]]), value) for key, value in environment.items()}
    assert check(fitted | {"PORTICO_HTTP__HOST": "0.0.0.0"}) == []


def test_production_limits_what_each_service_takes():
    services = compose(PRODUCTION)
    limits = {name: services[name]["deploy"]["resources"] for name in ("portico", "postgres")}
    assert limits["portico"] == {"reservations": {"cpus": "1", "memory": "1G"}, "limits": {"cpus": "4", "memory": "4G"}}
    assert limits["postgres"] == {"reservations": {"cpus": "0.5", "memory": "512M"}, "limits": {"cpus": "2", "memory": "2G"}}
    assert {services[name]["restart"] for name in limits} == {"always"}
    assert "ports" not in services["postgres"]


def test_the_configuration_for_kubernetes_is_safe(tmp_path: Path):
    config = next(manifest for manifest in manifests() if manifest["kind"] == "ConfigMap")
    text = str(config["data"]["portico.yaml"])
    secrets(tmp_path)
    (tmp_path / "portico.yaml").write_text(text.replace("/run/secrets/portico", str(tmp_path)))
    assert check({}, "--config", str(tmp_path / "portico.yaml")) == []


def test_kubernetes_asks_the_three_probes():
    paths = {getattr(route, "path", "") for router in ROUTERS for route in router.routes}
    deployment = next(manifest for manifest in manifests() if manifest["kind"] == "Deployment")
    container = pod(deployment)["containers"][0]
    assert {probe: container[probe]["httpGet"]["path"] for probe in PROBES} == PROBES
    assert set(PROBES.values()) <= paths


def test_nothing_in_kubernetes_runs_as_root_or_writes_to_its_image():
    for manifest in manifests():
        if manifest["kind"] in {"Deployment", "Job"}:
            spec = pod(manifest)
            assert spec["securityContext"]["runAsNonRoot"] is True
            for container in spec["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_image_copies_what_is_there_runs_without_root_and_is_checked():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert [name for name in copied if f"!{name}" not in allowed] == []
    assert text.count("\nFROM ") == 2, "one stage builds, the other runs"
    assert "\nUSER 10001\n" in text.rpartition("\nFROM ")[2]
    assert "\nHEALTHCHECK " in text


def test_every_variable_of_the_template_is_understood():
    lines = (REPOSITORY / ".env.template").read_text(encoding="utf-8").splitlines()
    variables = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))
    assert len(variables) > 5
    assert check({name: value for name, value in variables.items() if not name.endswith("_FILE")}) == []
