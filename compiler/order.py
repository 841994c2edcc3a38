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
        # Depth first with an explicit stack: a chain may be longer than Python's stack is deep.
        if root in done:
            continue
        path = [root]
        waiting = [(root, iter([n for n in needs[root] if n in needs]))]
        while waiting:
            following = next((n for n in waiting[-1][1] if n not in done), None)
            if following is None:
                waiting.pop()
                done[path.pop()] = None
            elif following in path:
                raise Cycle([*path[path.index(following) :], following])
            else:
                path.append(following)
                waiting.append((following, iter([n for n in needs[following] if n in needs])))
    return list(done)
