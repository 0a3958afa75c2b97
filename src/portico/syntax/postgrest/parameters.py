"""Parses the parameters of a query string, in their order, and puts those of embedded relations where they belong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from portico.errors import InvalidParameter, UnknownParameter
from portico.query.ast import And, Condition, CountMode, Embed, Node, Not, Operator, Ordered, Parsed, Path, Query, Selected, Slot, Written
from portico.query.slots import Slots
from portico.syntax.postgrest.filters import parse_comparison, parse_logic
from portico.syntax.postgrest.scanner import Scanner
from portico.syntax.postgrest.selects import EVERYTHING, parse_include, parse_order, parse_select

CLAUSES = frozenset({"select", "include", "order", "limit", "offset", "cursor", "count"})
"""The parameters that are clauses of a read, not filters. A call may take fewer of them."""

_EMBEDDED_CLAUSES = frozenset({"order", "limit", "offset"})
_COUNTS: dict[str, CountMode] = {"exact": "exact", "planned": "planned", "estimated": "estimated"}
MAX_PARAMETERS = 1_000


@dataclass(slots=True)
class Draft:
    """The clauses of one level, as they come: of the query itself, or of what an embedded relation is asked."""

    filters: list[Node] = field(default_factory=list)
    select: tuple[Selected | Embed, ...] | None = None
    include: tuple[Embed, ...] = ()
    order: tuple[Ordered, ...] = ()
    limit: Slot | None = None
    offset: Slot | None = None
    cursor: Slot | None = None
    count: CountMode | None = None
    seen: set[str] = field(default_factory=set)


Drafts = dict[tuple[str, ...], Draft]
"""The levels by the names of the relations that lead to them."""


def parse(pairs: Iterable[tuple[str, str]], *, reserved: frozenset[str] = frozenset(), allowed: frozenset[str] = CLAUSES) -> Parsed:
    """Parse decoded parameters.

    Args:
        pairs: names and values, in order. reserved: parameters that the caller reads itself; they are left alone.
        allowed: which of `CLAUSES` the call takes; a name of the others is a field's.
    Raises:
        UnknownOperator, UnknownParameter, InvalidParameter: as they say, naming the culprit.
        OutOfRange: it nests too deeply, or has too many parameters.
    """
    slots = Slots()
    drafts: Drafts = {(): Draft()}
    for number, (name, value) in enumerate(pairs):
        if number >= MAX_PARAMETERS:
            raise InvalidParameter(f"The query string has more than {MAX_PARAMETERS} parameters.")
        if name not in reserved:
            read_parameter(name, value, slots, drafts, allowed)
    select, include = drafts[()].select, drafts[()].include
    if include:
        select = (*(select if select is not None else (EVERYTHING,)), *include)
    return Parsed(_assemble((), select, drafts), tuple(slots.values))


def read_parameter(name: str, value: str, slots: Slots, drafts: Drafts, allowed: frozenset[str]) -> None:
    """Read one parameter into the draft of its level. Raises as `parse`."""
    if name in CLAUSES and name in allowed:
        _read_clause(drafts[()], name, name, value, slots)
        return
    scanner = Scanner(name, name)
    if not name:
        raise UnknownParameter("A parameter has no name.")
    words = [scanner.name()]
    while scanner.take("."):
        words.append(scanner.name())
    path = scanner.steps(words[-1])
    if not scanner.at_end():
        raise UnknownParameter(f"There is no parameter {name[:64]!r}.", details={"parameter": name[:64]})
    last = words.pop()
    if last in {"and", "or"} and not path.steps:
        negated = bool(words) and words[-1] == "not"
        draft = drafts.setdefault(tuple(words[:-1] if negated else words), Draft())
        draft.filters.append(parse_logic(last, negated, value, name, slots))
        return
    draft = drafts.setdefault(tuple(words), Draft())
    if words and last in _EMBEDDED_CLAUSES and not path.steps:
        _read_clause(draft, last, name, value, slots)
    else:
        draft.filters.append(parse_comparison(path, value, name, slots))


def _read_clause(draft: Draft, clause: str, label: str, value: str, slots: Slots) -> None:
    if clause in draft.seen:
        raise InvalidParameter(f"The parameter {label[:64]!r} is given twice.", details={"parameter": label[:64]})
    draft.seen.add(clause)
    match clause:
        case "select":
            draft.select = parse_select(value)
        case "include":
            draft.include = parse_include(value)
        case "order":
            draft.order = parse_order(value, label)
        case "limit":
            draft.limit = slots.add(value, Written.TEXT)
        case "offset":
            draft.offset = slots.add(value, Written.TEXT)
        case "cursor":
            draft.cursor = slots.add(value, Written.TEXT)
        case _:
            if value not in _COUNTS:
                raise InvalidParameter("The parameter 'count' is exact, planned or estimated.", details={"parameter": "count"})
            draft.count = _COUNTS[value]


def _assemble(level: tuple[str, ...], select: tuple[Selected | Embed, ...] | None, drafts: Drafts) -> Query:
    """The query of a level that selects `select`, with what is asked of its relations. Several may share what is asked by their name."""
    draft = drafts.get(level) or Draft()
    asked = {path[len(level)] for path in drafts if len(path) > len(level) and path[: len(level)] == level}
    if select is not None:
        items: list[Selected | Embed] = []
        for item in select:
            if isinstance(item, Embed):
                name = item.alias or item.relation
                key = name if name in asked else item.relation
                asked.discard(key)
                items.append(replace(item, query=_assemble((*level, key), item.query.select, drafts)))
            else:
                items.append(item)
        select = tuple(items)
    if asked:
        name = min(asked)
        raise InvalidParameter(
            f"The relation {name[:64]!r} is not in the select, so nothing can be asked of it.",
            hint=f"Add {name[:64]}(*) to the select.",
            details={"parameter": name[:64]},
        )
    filters, select = _required_relations(draft.filters, select)
    node = None if not filters else filters[0] if len(filters) == 1 else And(tuple(filters))
    return Query(select, node, draft.order, draft.limit, draft.offset, draft.cursor, draft.count)


def _required_relations(
    filters: list[Node], select: tuple[Selected | Embed, ...] | None
) -> tuple[list[Node], tuple[Selected | Embed, ...] | None]:
    """``lines=not.is.null`` on an embedded relation asks for the documents that have one: what ``!inner`` says."""
    names = {item.alias or item.relation for item in select or () if isinstance(item, Embed)}
    required = {name for name in names if Not(Condition(Path(name), Operator.IS_NULL)) in filters}
    if not required or select is None:
        return filters, select
    kept = [node for node in filters if not any(node == Not(Condition(Path(name), Operator.IS_NULL)) for name in required)]
    items = [
        replace(item, inner=True) if isinstance(item, Embed) and (item.alias or item.relation) in required else item for item in select
    ]
    return kept, tuple(items)
