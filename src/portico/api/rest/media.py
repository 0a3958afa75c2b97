"""What form of answer the `Accept` header asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from portico.errors import NotAcceptable


class Form(StrEnum):
    """The forms of an answer, by their media type."""

    ARRAY = "application/json"
    STRIPPED = "application/vnd.pgrst.array+json"
    OBJECT = "application/vnd.pgrst.object+json"
    CSV = "text/csv"
    OPENAPI = "application/openapi+json"
    PLAN_JSON = "application/vnd.pgrst.plan+json"
    PLAN_TEXT = "application/vnd.pgrst.plan+text"


_NAMES = {
    "*/*": Form.ARRAY,
    "application/*": Form.ARRAY,
    "text/*": Form.CSV,
    "application/vnd.pgrst.array": Form.STRIPPED,
    "application/vnd.pgrst.object": Form.OBJECT,
    "application/vnd.pgrst.plan": Form.PLAN_TEXT,
    **{form.value: form for form in Form},
}
_READS = frozenset({Form.ARRAY, Form.STRIPPED, Form.OBJECT, Form.CSV})
_PLANS = frozenset({Form.PLAN_JSON})


@dataclass(frozen=True, slots=True)
class Media:
    """A form with its parameters: `stripped` leaves null members out, `options` are a plan's."""

    form: Form
    stripped: bool = False
    options: frozenset[str] = field(default_factory=frozenset)

    @property
    def single(self) -> bool:
        """Whether the answer is one object, and exactly one."""
        return self.form is Form.OBJECT

    @property
    def header(self) -> tuple[bytes, bytes]:
        """The `Content-Type` of such an answer."""
        name = self.form.value + (";nulls=stripped" if self.stripped else "")
        return (b"content-type", f"{name}; charset=utf-8".encode())


def accepted(header: bytes | None, *, plans: bool = False, description: bool = False) -> Media:
    """The form that the caller likes best of those that there are.

    Args:
        header: the `Accept` header. plans: whether a query's plan can be answered; description: only an OpenAPI document can.
    Raises:
        NotAcceptable: none of them is among what the caller takes.
    """
    if header is None:
        return Media(Form.OPENAPI if description else Form.ARRAY)
    offered = frozenset({Form.OPENAPI, Form.ARRAY}) if description else _READS | (_PLANS if plans else frozenset())
    liked = sorted((_quality(part), -place, part) for place, part in enumerate(header.decode("latin-1").split(",")))
    for quality, _, part in reversed(liked):
        name = part.partition(";")[0].strip().lower()
        form = Form.OPENAPI if description and name.endswith("/*") else _NAMES.get(name)
        if quality > 0 and form in offered:
            return _media(form, _parameters(part))
    raise NotAcceptable(
        "None of the media types that the call accepts can be answered.",
        hint=f"There are {', '.join(sorted(form.value for form in offered))}.",
        details={"accept": header.decode("latin-1")[:200]},
    )


def _media(form: Form, parameters: dict[str, str]) -> Media:
    stripped = parameters.get("nulls") == "stripped" and form in {Form.STRIPPED, Form.OBJECT}
    if form is Form.STRIPPED and not stripped:
        form = Form.ARRAY
    options = frozenset(word for word in parameters.get("options", "").split("|") if word)
    return Media(form, stripped, options)


def _parameters(part: str) -> dict[str, str]:
    pairs = (piece.strip().partition("=") for piece in part.split(";")[1:])
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _quality(part: str) -> float:
    try:
        return float(_parameters(part).get("q", "1"))
    except ValueError:
        return 0.0
