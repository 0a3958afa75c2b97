"""The person behind a token: found through the collections `user_identities` and `users`."""

from __future__ import annotations

import json
from typing import cast

from portico.errors import InvalidValue, NotFound, UnknownField
from portico.model.identity import Actor, Identity, Permission, Rule, Subject
from portico.model.scope import EVERYTHING
from portico.query import ast
from portico.service.authorize import fingerprint
from portico.service.caller import Asked, Caller
from portico.service.documents import Documents

IDENTITIES, USERS = "user_identities", "users"
_RULES = (Rule(IDENTITIES, frozenset({Permission.READ})), Rule(USERS, frozenset({Permission.READ})))
_CALLER = Caller(
    identity=Identity("portico", "sign-in", _RULES, None, fingerprint=fingerprint(_RULES, None)),
    scope=EVERYTHING,
    actor=Actor("portico", None, None, ""),
)


class LinkedUsers:
    """Finds users by the identities that are linked to them. Implements `tokens.UserDirectory`.

    Args:
        documents: the pipeline of reads; the two collections may be the built-in ones or the deployment's own of that shape.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def find(self, provider: str, subject: str) -> Subject | None:
        """The client and user linked to `(provider, subject)`.

        None where there is none, where the user is not active, or where the collections are not served. Raises Unavailable.
        """
        try:
            linked = await self._read(IDENTITIES, ("user_id",), provider=provider, subject=subject)
            if linked is None:
                return None
            user = await self._read(USERS, ("client_id", "is_active"), user_id=str(linked["user_id"]))
        except (NotFound, UnknownField, InvalidValue):
            # No such collection or field, or a subject that cannot be one: nobody is linked.
            return None
        if user is None or user["is_active"] is not True:
            return None
        client = user["client_id"]
        return Subject(client=None if client is None else str(client), user=str(linked["user_id"]))

    async def _read(self, collection: str, fields: tuple[str, ...], **equal: str) -> dict[str, object] | None:
        def parse() -> ast.Query:
            return ast.Query(
                select=tuple(ast.Selected(ast.Path(name)) for name in fields),
                filter=ast.And(
                    tuple(
                        ast.Condition(ast.Path(name), ast.Operator.EQ, ast.Slot(index, ast.Written.STRING))
                        for index, name in enumerate(equal)
                    )
                ),
            )

        asked = Asked(shape=("sign-in", collection), values=tuple(equal.values()), parse=parse)
        listed = await self._documents.list(_CALLER, collection, asked)
        found = cast("list[dict[str, object]]", json.loads(listed.page.body))
        # A pair that is linked twice is linked to nobody.
        return found[0] if len(found) == 1 else None
