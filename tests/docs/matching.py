"""Compares what a command answered with what a page shows: `…` stands for anything, and what differs each time is compared by its form."""

import re

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_HASH = r"[0-9a-f]{32}"
_KEY = r"ptk_[A-Za-z0-9]+_[A-Za-z0-9_-]+"
_CORRELATION = r'(?<="correlation_id":")[A-Za-z0-9._-]+'
_CURSOR = r'(?<="next_cursor":")[A-Za-z0-9_-]+'
_VARYING = re.compile("|".join(f"({form})" for form in (_TIME, _UUID, _HASH, _KEY, _CORRELATION, _CURSOR)))
_FORMS = (_TIME, _UUID, _HASH, _KEY, r"[A-Za-z0-9._-]+", r"[A-Za-z0-9_-]+")
_JSON = re.compile(r"(?:\A[0-9]{3} |^)\s*(?=[{\[])", re.MULTILINE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\s+')


def agrees(shown: str, answered: str) -> bool:
    """Whether an answer is as a page shows it.

    Args:
        shown: as in the page; times, UUIDs, hashes, keys, cursors and correlation ids in it stand for others of their form.
        answered: a status and a JSON body, several lines of JSON, or plain text.
    """
    return re.fullmatch(_pattern(_compact(shown)), _compact(answered), re.DOTALL) is not None


def _pattern(shown: str) -> str:
    parts: list[str] = []
    position = 0
    for match in _VARYING.finditer(shown):
        parts.append(_literal(shown[position : match.start()]))
        parts.append(_FORMS[(match.lastindex or 1) - 1])
        position = match.end()
    return "".join([*parts, _literal(shown[position:])])


def _literal(text: str) -> str:
    return ".*?".join(re.escape(part) for part in text.split("…"))


def _compact(text: str) -> str:
    """Without white space outside of strings, where it is JSON; with single spaces where it is plain text."""
    stripped = text.strip()
    found = _JSON.search(stripped)
    if found is None:
        return " ".join(stripped.split())
    head, body = stripped[: found.end()], stripped[found.end() :]
    return " ".join(head.split()) + _STRING.sub(lambda match: match[0] if match[0].startswith('"') else "", body)


def as_shown(status: int | None, headers: dict[str, str], shown_headers: list[str], body: str) -> str:
    """An answer in the form of a page: its status, those headers that the page shows, its body as it came."""
    lines = [str(status)] if status is not None else []
    lines += [f"{name}: {headers.get(name.lower(), 'missing')}" for name in shown_headers]
    return "\n".join([*lines, body])
