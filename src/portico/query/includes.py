"""Finds what an include names: the relation, the collection that it leads to as the caller reaches it, and what limits it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portico.errors import HiddenField, InvalidRequest, OutOfRange, UnknownRelation
from portico.model.collection import Relation
from portico.query import ast
from portico.query.bound import BoundFilter, Conjunction, Embedded, Join, Output, Predicate
from portico.query.conditions import FilterBinder, Parameters, group
from portico.query.grouped import is_grouped
from portico.query.limits import Limits
from portico.query.names import Names, Reached, Resolve


@dataclass(slots=True)
class Includes:
    """Finds the relations of one request. `resolve` None allows no include."""

    parameters: Parameters
    limits: Limits
    resolve: Resolve | None

    def find(self, embed: ast.Embed, names: Names, depth: int) -> tuple[Relation, Reached]:
        """The relation that an include names, and the collection that it leads to.

        Raises:
            UnknownRelation, AmbiguousRelation: as `Names.relation`; a collection that the caller may not know of is as if it was not there.
            HiddenField: the relation goes by a field that the caller does not see. Forbidden: the caller may not read the documents.
            OutOfRange: it is included too deeply. InvalidRequest: it cannot be included like this.
        """
        if depth > self.limits.max_include_depth:
            raise OutOfRange(f"The request includes relations deeper than {self.limits.max_include_depth}.")
        relation = names.relation(embed.relation, embed.hint, self._is_known)
        other = self.reached(relation.collection)
        self._refuse_hidden(relation, names, other)
        if embed.query.cursor is not None or embed.query.count is not None:
            raise InvalidRequest("A relation takes no cursor or count of its own.", details={"relation": relation.name})
        return relation, other

    def _is_known(self, relation: Relation) -> bool:
        names = [relation.collection, *([relation.through[0]] if relation.through else [])]
        return self.resolve is not None and all(self.resolve(name) is not None for name in names)

    def reached(self, collection: str) -> Reached:
        """The collection of that name. Raises Forbidden, or UnknownRelation where there is none."""
        found = self.resolve(collection) if self.resolve is not None else None
        if found is None:
            raise UnknownRelation("There is no such relation.")
        if found.refusal is not None:
            raise found.refusal
        return found

    @staticmethod
    def check_aggregates(embed: ast.Embed, relation: Relation, other: Reached) -> None:
        """Check that what an include asks for may be aggregated. Raises Forbidden, InvalidRequest."""
        if not is_grouped(embed.query, other.collection):
            return
        if other.uncounted is not None:
            raise other.uncounted
        if embed.spread and relation.many:
            raise InvalidRequest(
                f"The relation {relation.name!r} leads to many documents, whose aggregates are not spread.",
                hint="Leave out the dots: an include of aggregates answers groups.",
                details={"relation": relation.name},
            )

    def names(self, relation: Relation) -> Names:
        """The names of the collection that a relation leads to."""
        return names_of(self.reached(relation.collection))

    def _refuse_hidden(self, relation: Relation, names: Names, other: Reached) -> None:
        """Related documents would tell the value of the field that relates them."""
        sides = [(names.hidden, relation.local), (names_of(other).hidden, relation.foreign)]
        if relation.through is not None:
            join, this, that = relation.through
            sides.append((names_of(self.reached(join)).hidden, (*this, *that)))
        if any(name in hidden for hidden, fields in sides for name in fields):
            raise HiddenField(f"The relation {relation.name!r} goes by a field that is hidden.", details={"relation": relation.name})

    def join(self, relation: Relation) -> Join | None:
        """The join collection of a relation that has one."""
        if relation.through is None:
            return None
        found = self.reached(relation.through[0])
        filters = self.restrictions(found)
        return Join(found.collection, group(filters, Conjunction) if filters else None)

    def restrictions(self, reached: Reached) -> list[Predicate]:
        """What the documents there must match for this caller, all of it. Their values are the same for every call."""
        filters = [parsed for parsed in reached.row_filters if parsed.query.filter is not None]
        found: list[Predicate] = []
        for parsed in filters:
            own = Parameters(self.parameters.first + len(self.parameters.sources))
            # They may look at hidden fields: the operator wrote them.
            assert parsed.query.filter is not None, "those without a filter were left out"
            predicate = FilterBinder(own, self.limits).bind(parsed.query.filter, Names(reached.collection, frozenset()))
            fixed = BoundFilter(predicate, tuple(own.sources), tuple(own.coercers)).fixed(parsed.values)
            self.parameters.sources.extend(fixed.sources)
            self.parameters.coercers.extend(fixed.coercers)
            found.append(predicate)
        return found


def names_of(reached: Reached) -> Names:
    """The names of a collection, its own hidden fields among the hidden."""
    return Names(reached.collection, reached.hidden | reached.collection.security.hidden)


def embeds_of(query: ast.Query, outputs: Sequence[Output | Embedded]) -> Mapping[str, tuple[ast.Embed, Embedded]]:
    """The includes of a select by the names that it gives them, each as it was asked and as it was bound.

    Raises:
        InvalidRequest: two have one name.
    """
    asked = [item for item in query.select or () if isinstance(item, ast.Embed)]
    bound = [output for output in outputs if isinstance(output, Embedded)]
    found: dict[str, tuple[ast.Embed, Embedded]] = {}
    for item, output in zip(asked, bound, strict=True):
        if output.name in found:
            raise InvalidRequest(
                f"The select names {output.name[:64]!r} twice.", hint="Give one of them an alias.", details={"field": output.name[:64]}
            )
        found[output.name] = (item, output)
    return found
