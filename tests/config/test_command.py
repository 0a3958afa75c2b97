"""The program itself: `portico config`, `portico secrets`, exit codes, and what it never prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

from portico.cli import VERBS

SECRET = "hunter2-hunter2"


def test_config_shows_values_with_their_sources(portico, folder: Path):
    (folder / "portico.yaml").write_text("http: {port: 9000}")
    ran = portico("config", environ={"LOG_LEVEL": "ERROR"})
    assert ran.returncode == 0, ran.stderr
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in ran.stdout.splitlines()}
    assert [part.strip() for part in rows["http.port"]] == ["9000", "file portico.yaml"]
    assert [part.strip() for part in rows["observe.log_level"]] == ["ERROR", "env LOG_LEVEL"]
    assert [part.strip() for part in rows["http.host"]] == ["127.0.0.1", "default"]


def test_config_as_json_is_for_scripts(shown):
    found = shown(PORTICO_HTTP__WORKERS="2")
    assert found["http.workers"] == {"value": 2, "source": "env PORTICO_HTTP__WORKERS"}
    assert found["databases.main.connection_string"] == {"value": "sqlite:///./portico.db", "source": "default"}


def test_config_takes_the_file_from_its_option(portico, folder: Path):
    (folder / "other.yaml").write_text("service_name: other")
    ran = portico("config", "--config", "other.yaml", "--json")
    assert json.loads(ran.stdout)["settings"]["service_name"]["value"] == "other"


def test_config_never_prints_a_secret(portico, folder: Path):
    (folder / "password").write_text(SECRET)
    (folder / "portico.yaml").write_text(f"files: {{secret_access_key: {SECRET}}}\ncluster: {{secret: '{SECRET}'}}")
    environ = {
        "DATABASE_URL": f"postgresql://u:{SECRET}@db/app",
        "REDIS_URL": f"redis://:{SECRET}@cache",
        "MONGODB_URL": f"mongodb://u:{SECRET}@docs/app",
        "PORTICO_SECRET_KEY": SECRET,
        "PORTICO_DATABASES__MAIN__PASSWORD_FILE": str(folder / "password"),
        "ENVIRONMENT": "production",
    }
    for arguments in (("config",), ("config", "--json")):
        ran = portico(*arguments, environ=environ)
        assert "postgresql://u:********@db/app" in ran.stdout
        assert SECRET not in ran.stdout + ran.stderr


def test_config_says_what_is_unsafe_and_exits_with_1(portico):
    ran = portico("config", environ={"ENVIRONMENT": "production"})
    assert ran.returncode == 1
    assert "Unsafe: secret_key is not set" in ran.stderr


def test_a_mistake_in_the_configuration_exits_with_2_and_a_hint(portico, folder: Path):
    (folder / "portico.yaml").write_text("http: {prot: 9000}")
    ran = portico("config")
    assert ran.returncode == 2
    assert "unknown setting http.prot" in ran.stderr
    assert "Did you mean http.port?" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_unknown_verb_or_option_exits_with_2(portico):
    assert portico("confg").returncode == 2
    assert portico("config", "--jsn").returncode == 2


def test_help_lists_every_verb(portico):
    ran = portico("--help")
    assert ran.returncode == 0
    assert all(verb in ran.stdout for verb in VERBS)


def test_the_program_starts_without_the_server_and_its_drivers(folder: Path):
    (folder / "probe.py").write_text("import sys, portico.cli\nprint(*sys.modules)")
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "probe.py"], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ran.stdout.split())
    assert {"fastapi", "sqlalchemy", "asyncpg", "granian", "pymongo"}.isdisjoint(loaded)


def test_a_secret_is_encrypted_checked_and_rotated(portico, folder: Path):
    old = portico("secrets", "generate-key", "--id", "old").stdout.strip()
    new = json.loads(portico("secrets", "generate-key", "--id", "new", "--json").stdout)
    encrypted = portico("secrets", "encrypt", stdin=SECRET + "\n", environ={"PORTICO_MASTER_KEY": old})
    token = encrypted.stdout.strip()
    assert token.startswith("enc:v1:old:")
    assert SECRET not in encrypted.stdout + encrypted.stderr
    (folder / "portico.yaml").write_text(f"secret_key: {token}  # made in spring\r\n", newline="")
    both = {"PORTICO_MASTER_KEY": f"{new['key']},{old}"}
    assert portico("secrets", "rotate", environ=both).stdout == "1 of 1 encrypted values changed.\n"
    text = (folder / "portico.yaml").read_bytes().decode()
    assert text.startswith("secret_key: enc:v1:new:")
    assert text.endswith("  # made in spring\r\n")
    only_new = {"PORTICO_MASTER_KEY": new["key"]}
    assert json.loads(portico("secrets", "check", "--json", environ=only_new).stdout) == {"opened": {"new": 1}, "failed": []}
    assert portico("config", environ=only_new).returncode == 0
    assert portico("secrets", "check", environ={"PORTICO_MASTER_KEY": old}).returncode == 1


def test_encrypting_without_a_master_key_says_how_to_get_one(portico):
    ran = portico("secrets", "encrypt", stdin=SECRET)
    assert ran.returncode == 2
    assert "portico secrets generate-key" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
