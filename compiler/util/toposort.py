"""Definitions that need each other: an order in which each comes after what it needs, and all that some need."""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar


_K = TypeVar("_K", bound=Hashable)


class Cycle(Exception):
    """Definitions that need each other; `path` starts and ends with the same one."""

    def __init__(self, path: list):
        self.path = path
        super().__init__(" -> ".join(map(str, path)))


def in_order(needs: Mapping[_K, Iterable[_K]]) -> list[_K]:
    """The keys of `needs`, each after the keys it needs, otherwise in the order given. Raises Cycle."""
    done: dict[_K, None] = {}
    for root in needs:
        if root in done:
            continue
        # Depth first with an explicit stack (a chain may be longer than Python's is deep); `path` keeps insertion
        # order.
        path = {root: iter(needs[root])}
        while path:
            key = next(reversed(path))
            following = next((n for n in path[key] if n in needs and n not in done), None)
            if following is None:
                del path[key]
                done[key] = None
            elif following in path:
                names = list(path)
                raise Cycle([*names[names.index(following) :], following])
            else:
                path[following] = iter(needs[following])
    return list(done)


def reached(edges: Mapping[_K, Iterable[_K]], starts: Iterable[_K], ends: Iterable[_K] = ()) -> set[_K]:
    """All that `edges` lead to from `starts`, and these, by ways that go no further than to `ends`."""
    found, pending, last = set(), list(starts), set(ends)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += () if node in last else edges.get(node, ())
    return found


def reversed_edges(edges: Mapping[_K, Iterable[_K]]) -> dict[_K, list[_K]]:
    """The edges the other way round: for each node those that have one to it."""
    found: dict[_K, list[_K]] = {}
    for start, targets in edges.items():
        for target in targets:
            found.setdefault(target, []).append(start)
    return found
