"""Directed graphs, as far as the search for cycles needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Graph = Mapping[int, Iterable[int]]


def components(graph: Graph) -> list[set[int]]:
    """The strongly connected components that hold a cycle (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[set[int]] = []
    for root in graph:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        path: list[tuple[int, Iterator[int]]] = [(root, iter(graph[root]))]
        while path:
            node, targets = path[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    path.append((target, iter(graph.get(target, ()))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    component = _pop(stack, on_stack, node)
                    if len(component) > 1 or node in graph.get(node, ()):
                        found.append(component)
    return found


def _pop(stack: list[int], on_stack: set[int], root: int) -> set[int]:
    component = set()
    while root not in component:
        node = stack.pop()
        on_stack.discard(node)
        component.add(node)
    return component


def has_path(graph: Graph, source: int, target: int, within: set[int]) -> bool:
    """Whether `target` can be reached from `source` by nodes of `within`."""
    seen, waiting = {source}, [source]
    while waiting:
        node = waiting.pop()
        if node == target:
            return True
        following = [other for other in graph.get(node, ()) if other in within and other not in seen]
        seen.update(following)
        waiting.extend(following)
    return False
