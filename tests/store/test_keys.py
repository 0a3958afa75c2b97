"""The text of API keys."""

import pytest

from portico.store.keys import generate, hash_secret, parse, well_made
from tests.store.stores import PEPPER


def test_a_key_is_taken_apart_into_what_the_store_knows() -> None:
    new = generate(PEPPER)
    parsed = parse(new.text.encode())
    assert parsed is not None
    assert parsed.id == new.id
    assert hash_secret(PEPPER, parsed.id, parsed.secret) == new.secret_hash
    assert well_made(PEPPER, new.id)


def test_keys_differ_and_hold_256_random_bits() -> None:
    keys = [generate(PEPPER) for _ in range(50)]
    secrets = {key.text.split("_")[2] for key in keys}
    assert len(secrets) == 50
    assert all(62 ** len(secret) >= 2**256 for secret in secrets)


def test_another_pepper_means_another_hash_and_refuses_the_id() -> None:
    new = generate(PEPPER)
    parsed = parse(new.text.encode())
    assert parsed is not None
    assert hash_secret(b"another", parsed.id, parsed.secret) != new.secret_hash
    assert not well_made(b"another", new.id)


def test_a_made_up_id_is_told_from_a_real_one_without_the_store() -> None:
    new = generate(PEPPER)
    other = ("B" if new.id[0] == "A" else "A") + new.id[1:]
    assert not well_made(PEPPER, other)


def test_neither_the_secret_nor_its_hash_is_printed() -> None:
    new = generate(PEPPER)
    assert new.text.split("_")[2] not in repr(new)
    assert repr(new.secret_hash) not in repr(new)


@pytest.mark.parametrize(
    "text", [b"", b"ptk_", b"ptk_short_secret", b"ptk_" + b"a" * 16 + b"_" + b"b" * 44, b"ptk_" + b"a" * 16 + b"_" + b"\xff" * 43]
)
def test_what_is_not_of_a_keys_form_is_no_key(text: bytes) -> None:
    assert parse(text) is None
