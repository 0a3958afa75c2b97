"""Passwords in bodies: checked against the policy and hashed (argon2id) before the database or anything else sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from argon2 import PasswordHasher

from portico.errors import ConstraintViolated, InternalError, InvalidParameter, WrongType
from portico.model.collection import Collection

LONGEST = 1024
"""Characters of the longest password."""

MOST_TOGETHER = 1_000
"""Passwords in one call: each takes tens of milliseconds of a processor on purpose."""

_AT_ONCE = 2
_EXAMINED = 72
_GUESSABLE = 2

# OWASP's first choice for argon2id: 46 MiB, one pass, one lane (Password Storage Cheat Sheet).
_HASHER = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)


class Hashed(str):
    """The hash of a password, in PHC's string format: what a body holds in the password's place once it was hashed."""

    __slots__ = ()


class Passwords:
    """Hashes the passwords of bodies, off the event loop and a few at once.

    Args:
        shortest: characters of the shortest password.
    """

    def __init__(self, shortest: int = 12) -> None:
        self._shortest = shortest
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, collection: Collection, body: Mapping[str, object]) -> Mapping[str, object]:
        """The body with every password in it hashed; the same body where it has none. Null means no password.

        Raises:
            WrongType, ConstraintViolated: a password is not a text, too short or long, or easily guessed.
        """
        given = [member for member, _ in collection.security.passwords if body.get(member) is not None]
        if not given:
            return body
        others = [value for name, value in body.items() if isinstance(value, str) and name not in given]
        async with self._turn:
            hashes = {member: await asyncio.to_thread(self._hash, member, body[member], others) for member in given}
        return {**body, **hashes}

    def check_number(self, collection: Collection, bodies: Sequence[object]) -> None:
        """Raise InvalidParameter where `bodies` hold more passwords than one call may."""
        members = [member for member, _ in collection.security.passwords]
        given = sum(body.get(member) is not None for body in bodies if isinstance(body, Mapping) for member in members)
        check_together(given)

    def _hash(self, member: str, password: object, others: list[str]) -> Hashed:
        if isinstance(password, Hashed):
            return password
        check(member, password, self._shortest, others)
        return Hashed(_HASHER.hash(cast("str", password)))


def check_together(number: int) -> None:
    """Raise InvalidParameter for more passwords than one call may set."""
    if number > MOST_TOGETHER:
        raise InvalidParameter(f"At most {MOST_TOGETHER} passwords are set by one call.", hint="Set them in several calls.")


def check(member: str, password: object, shortest: int, others: list[str]) -> None:
    """Hold a password to the policy: its length, and that it is not a common or easily guessed one.

    Args:
        member: its name, for messages. others: texts that stand beside it, such as the user's name, which make it easier to guess.
    """
    details: dict[str, object] = {"field": member}
    if not isinstance(password, str):
        raise WrongType(f"The member {member} must be a text.", details=details)
    if "\0" in password:
        raise WrongType(f"The member {member} must not contain U+0000.", details=details)
    if not shortest <= len(password) <= LONGEST:
        raise ConstraintViolated(f"The member {member} must have {shortest} to {LONGEST} characters.", details=details)
    if _is_guessable(password, others):
        raise ConstraintViolated(
            f"The member {member} is a common or easily guessed password.", hint="Take several unrelated words.", details=details
        )


def _is_guessable(password: str, others: list[str]) -> bool:
    from zxcvbn import zxcvbn  # noqa: PLC0415 - its word lists are read only where passwords are written

    # Longer texts take it quadratic time, and are judged by how they begin.
    found = zxcvbn(password[:_EXAMINED], user_inputs=[text[:_EXAMINED] for text in others])
    return int(found["score"]) < _GUESSABLE


def hashed(value: object) -> str | None:
    """The stored value of a password's member: its hash, or null.

    Raises:
        InternalError: it was not hashed. A password itself never goes further than here.
    """
    if value is None or isinstance(value, Hashed):
        return value
    raise InternalError("A password reached the database's side without having been hashed.")
