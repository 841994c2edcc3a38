"""Putting definitions into an order in which each comes after what it needs."""

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
