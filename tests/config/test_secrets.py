"""Secrets: encrypted, in files, rotated, and never shown."""

from multiprocessing import get_context
from pathlib import Path

import pytest

from portico.errors import ConfigurationError
from portico.settings import Keyring, MasterKey, describe, load
from portico.settings.development import development_secret


def test_an_encrypted_secret_is_read_with_the_master_key(settings):
    key = MasterKey.generate("k1")
    token = Keyring((key,)).encrypt("hunter2-and-more")
    found = settings(f"secret_key: {token}", PORTICO_MASTER_KEY=key.text())
    assert found.secret_key.current() == "hunter2-and-more"
    assert not found.secret_key.plain


def test_a_whole_connection_string_may_be_encrypted_and_its_type_is_still_known(settings):
    key = MasterKey.generate()
    found = settings(DATABASE_URL=Keyring((key,)).encrypt("postgresql://u:hunter2@db/app"), PORTICO_MASTER_KEY=key.text())
    assert found.databases["main"].type == "postgresql"
    assert found.databases["main"].connection.password == "hunter2"


def test_every_master_key_reads_and_the_first_one_writes():
    old, new = MasterKey.generate("old"), MasterKey.generate("new")
    ring = Keyring.parse(f"{new.text()},{old.text()}\n")
    token = Keyring((old,)).encrypt("hunter2")
    assert ring.decrypt(token, "x") == "hunter2"
    rotated = ring.rotate(token, "x")
    assert rotated.startswith("enc:v1:new:")
    assert Keyring((new,)).decrypt(rotated, "x") == "hunter2"
    assert ring.rotate(rotated, "x") == rotated


def test_the_same_secret_never_encrypts_to_the_same_text_twice():
    ring = Keyring((MasterKey.generate(),))
    assert ring.encrypt("hunter2") != ring.encrypt("hunter2")


def test_a_changed_or_relabelled_secret_is_refused():
    key = MasterKey.generate("a")
    ring = Keyring((key, MasterKey("b", key.key)))
    token = ring.encrypt("hunter2")
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    for forged in (changed, token.replace(":a:", ":b:"), "enc:v1:a:AAAA", "enc:hunter2", "enc:v1:zzz:AAAA"):
        with pytest.raises(ConfigurationError) as raised:
            ring.decrypt(forged, "secret_key")
        assert "hunter2" not in raised.value.message


def test_an_encrypted_secret_without_a_master_key_says_where_to_give_one(settings):
    token = Keyring((MasterKey.generate(),)).encrypt("hunter2")
    with pytest.raises(ConfigurationError, match="secret_key is encrypted") as raised:
        settings(f"secret_key: {token}")
    assert "PORTICO_MASTER_KEY_FILE" in (raised.value.hint or "")


@pytest.mark.parametrize("text", ["short", "bm90IDMyIGJ5dGVz", "a b:c", "k1:!!!!"])
def test_a_master_key_that_is_none_is_refused_without_its_text(text):
    with pytest.raises(ConfigurationError) as raised:
        Keyring.parse(text)
    assert text not in raised.value.message


def test_the_master_key_may_come_from_a_file_of_the_configuration(settings, folder: Path):
    key = MasterKey.generate()
    (folder / "master").write_text(key.text() + "\n")
    assert settings("master_key_file: master").keyring.keys == (key,)


def test_a_rotated_file_is_picked_up_without_a_restart(settings, folder: Path):
    (folder / "password").write_text("first\n")
    main = settings("databases: {main: {connection_string: 'postgresql://u@db/app', password_file: password}}").databases["main"]
    assert main.current_password() == "first"
    (folder / "next").write_text("second\n")
    (folder / "next").replace(folder / "password")
    assert main.current_password() == "second"
    assert main.connection.password == "second"


def test_a_rotated_connection_string_is_picked_up_too(settings, folder: Path):
    file = folder / "url"
    file.write_text("postgresql://u:first@db/app")
    main = settings(DATABASE_URL_FILE=str(file)).databases["main"]
    file.write_text("postgresql://u:the-second@db/app")
    assert main.current_password() == "the-second"


def test_a_secret_whose_file_is_away_for_a_moment_keeps_its_value(settings, folder: Path):
    (folder / "key").write_text("a" * 40)
    found = settings(PORTICO_SECRET_KEY_FILE=str(folder / "key"))
    (folder / "key").unlink()
    assert found.secret_key.current() == "a" * 40
    (folder / "key").write_text("b" * 41)
    assert found.secret_key.current() == "b" * 41


def test_the_last_line_end_of_a_file_is_no_part_of_the_secret_and_the_rest_is(settings, folder: Path):
    (folder / "key").write_bytes(b" spaced \r\n")
    assert settings(PORTICO_SECRET_KEY_FILE=str(folder / "key")).secret_key.current() == " spaced "


def test_no_form_of_the_settings_shows_a_secret(settings):
    key = MasterKey.generate()
    found = settings(
        "files: {secret_access_key: hunter2}\ncluster: {secret: hunter2}\n"
        "databases: {pg: {connection_string: 'postgresql://u:hunter2@db/a?sslpassword=hunter2', password: hunter2,"
        " migration_connection_string: 'postgresql://o:hunter2@db/a'}, cache: {connection_string: 'redis://:hunter2@r?password=hunter2'}}",
        PORTICO_SECRET_KEY="hunter2",
        PORTICO_MASTER_KEY=key.text(),
        OTEL_ENDPOINT="https://user:hunter2@collector:4317",
    )
    for text in (repr(found), str(found), f"{found.keyring!r}", repr(describe(found)), repr(found.databases["pg"].connection)):
        assert "hunter2" not in text
        assert key.text().partition(":")[2] not in text


def test_keys_derive_from_the_secret_and_differ_by_purpose(settings):
    one, same, other = settings(PORTICO_SECRET_KEY="a" * 40), settings(PORTICO_SECRET_KEY="a" * 40), settings(PORTICO_SECRET_KEY="b" * 40)
    assert one.derive_key("etag") == same.derive_key("etag")
    assert len({one.derive_key("etag"), one.derive_key("cursor"), other.derive_key("etag")}) == 3
    assert len(one.derive_key("etag", 64)) == 64


def test_in_development_a_secret_is_made_once_beside_the_database_for_its_owner_alone(settings, folder: Path):
    (folder / "data").mkdir()
    found = settings(DATABASE_URL="sqlite:///data/a.db")
    first = found.derive_key("etag")
    file = folder / "data" / ".portico" / "secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert found.derive_key("etag") == first == load(None, {"DATABASE_URL": "sqlite:///data/a.db"}).derive_key("etag")
    assert sorted(made.name for made in file.parent.iterdir()) == [".gitignore", "secret"]


def test_workers_that_start_together_agree_on_the_development_secret(folder: Path):
    with get_context("spawn").Pool(4) as workers:
        made = workers.map(development_secret, [folder] * 16)
    assert len(set(made)) == 1


def test_outside_development_no_secret_is_made(settings, folder: Path):
    with pytest.raises(ConfigurationError, match="no secret_key"):
        settings(ENVIRONMENT="production").derive_key("etag")
    assert not (folder / ".portico").exists()
