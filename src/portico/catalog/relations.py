"""Relations between collections, both ways, from what is declared and from foreign keys; and their names.

Towards the referenced document a relation has the name of the field without ``_id``, or else of the other collection; back it has the
name of the referring collection. Where that is ambiguous, or a field has the name, the foreign key's own name is used. Through a join
collection it has the name of the other collection, and where that is ambiguous that of the join as well: ``labels_by_order_labels``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from portico.catalog.overlay import foreign_keys
from portico.model.collection import Collection, Relation
from portico.model.field import Cascade


@dataclass(frozen=True, slots=True)
class Link:
    """One foreign key: ``child[local] == parent[foreign]``."""

    child: str
    parent: str
    local: tuple[str, ...]
    foreign: tuple[str, ...]
    constraint: str | None
    on_delete: Cascade


def links_of(collection: Collection, served: Mapping[str, Collection]) -> list[Link]:
    """The foreign keys of a collection to others that are served; references that the database does not know are declared ones."""
    found = [
        Link(collection.name, key.collection, key.local, key.foreign, key.constraint, key.on_delete or "restrict")
        for key in foreign_keys(collection)
    ]
    known = {(link.local, link.parent) for link in found}
    for field in collection.fields:
        reference = field.references
        if reference is None:
            continue
        if ((field.name,), reference.collection) not in known:
            found.append(Link(collection.name, reference.collection, (field.name,), (reference.field,), None, reference.on_delete))
    declared: dict[tuple[tuple[str, ...], str], Cascade] = {
        ((field.name,), field.references.collection): field.references.on_delete for field in collection.fields if field.references
    }
    # What is declared of a deletion counts more than the database's own rule.
    found = [replace(link, on_delete=declared.get((link.local, link.parent), link.on_delete)) for link in found]
    return [link for link in found if link.parent in served and all(name in served[link.parent].by_name for name in link.foreign)]


def relate(collections: Sequence[Collection]) -> tuple[Collection, ...]:
    """The collections with their relations: the declared ones first, then those of foreign keys, then many-to-many ones."""
    served = {collection.name: collection for collection in collections}
    links = [link for collection in collections for link in links_of(collection, served)]
    wished: dict[str, list[tuple[list[str], Relation]]] = {name: [] for name in served}
    for link in links:
        child, parent = served[link.child], served[link.parent]
        forward = Relation("", link.parent, link.local, link.foreign, many=False, constraint=link.constraint)
        wished[link.child].append((_forward_names(link, child, parent), forward))
        back = Relation("", link.child, link.foreign, link.local, many=not _is_unique(child, link.local), constraint=link.constraint)
        wished[link.parent].append((_names(_plain(child), link), replace(back, on_delete=link.on_delete)))
    for name, relation in _many_to_many(collections, links):
        wished[name].append((_names_through(name, served[relation.collection], relation), relation))
    return tuple(_related(collection, served, links, wished[collection.name]) for collection in collections)


def _related(
    collection: Collection, served: Mapping[str, Collection], links: Sequence[Link], wished: Sequence[tuple[list[str], Relation]]
) -> Collection:
    own = foreign_keys(collection)
    declared = [_completed(relation, collection, served, links) for relation in collection.relations if relation not in own]
    declared = [relation for relation in declared if relation.collection in served]
    same = {(relation.collection, relation.local, relation.foreign, relation.through) for relation in declared}
    left = [
        (names, relation)
        for names, relation in wished
        if (relation.collection, relation.local, relation.foreign, relation.through) not in same
    ]
    taken = {relation.name for relation in declared} | set(collection.by_name)
    first = Counter(names[0] for names, _ in left)
    named: list[Relation] = []
    for names, relation in left:
        candidates = names if first[names[0]] == 1 else names[1:]
        name = next((candidate for candidate in candidates if candidate not in taken), None)
        if name is not None:
            taken.add(name)
            named.append(replace(relation, name=name))
    return replace(collection, relations=(*declared, *named))


def _completed(relation: Relation, collection: Collection, served: Mapping[str, Collection], links: Sequence[Link]) -> Relation:
    """A declared relation with what the foreign key that it follows says: its constraint, and what a deletion does."""
    for link in links:
        if (link.child, link.parent, link.local, link.foreign) == (collection.name, relation.collection, relation.local, relation.foreign):
            return replace(relation, many=False, constraint=relation.constraint or link.constraint)
        if (link.parent, link.child, link.foreign, link.local) == (collection.name, relation.collection, relation.local, relation.foreign):
            many = not _is_unique(served[link.child], link.local)
            return replace(relation, many=many, constraint=relation.constraint or link.constraint, on_delete=link.on_delete)
    return relation


def _forward_names(link: Link, child: Collection, parent: Collection) -> list[str]:
    field = link.local[0]
    short = field.removesuffix("_id")
    preferred = short if len(link.local) == 1 and short not in ("", field) and short not in child.by_name else _plain(parent)
    return _names(preferred, link)


def _names(preferred: str, link: Link) -> list[str]:
    fallback = "_".join((link.child.rpartition(".")[2], *link.local))
    return [preferred, *([link.constraint] if link.constraint else []), fallback, f"{fallback}_relation"]


def _names_through(collection: str, other: Collection, relation: Relation) -> list[str]:
    """What a relation through a join collection may be called: where several lead to one collection, each says which join it is by."""
    assert relation.through is not None, "it leads through a join collection"
    join, _, towards = relation.through
    by = f"{_plain(other)}_by_{join.rpartition('.')[2]}"
    exact = "_".join((by, *towards))
    # What is joined with itself is reached in two directions, neither of which is the plain one.
    return [_plain(other), exact] if other.name == collection else [_plain(other), by, exact]


def _plain(collection: Collection) -> str:
    return collection.name.rpartition(".")[2]


def _is_unique(collection: Collection, names: tuple[str, ...]) -> bool:
    if set(collection.primary_key) == set(names):
        return True
    if len(names) == 1 and collection.by_name[names[0]].constraints.unique:
        return True
    return any(index.unique and {part.name for part in index.fields} == set(names) for index in collection.indexes)


def _many_to_many(collections: Sequence[Collection], links: Sequence[Link]) -> list[tuple[str, Relation]]:
    """Relations through join collections: those whose key holds all fields of two foreign keys."""
    found: list[tuple[str, Relation]] = []
    for join in collections:
        key = set(join.primary_key)
        ends = [link for link in links if link.child == join.name and set(link.local) <= key]
        pairs = [(one, other) for one in ends for other in ends if one is not other and one.local != other.local]
        for one, other in pairs:
            through = (join.name, one.local, other.local)
            made = Relation("", other.parent, one.foreign, other.foreign, many=True, constraint=other.constraint, through=through)
            found.append((one.parent, made))
    return found
