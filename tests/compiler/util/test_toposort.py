from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from rbcc.compiler.util.toposort import Cycle, in_order, reached, reversed_edges


@given(st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 20), max_size=4)))
def test_each_comes_after_what_it_needs(needs: dict[int, list[int]]) -> None:
    cycle = None
    try:
        order = in_order(needs)
    except Cycle as found:
        cycle, order = found.path, []
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(later in needs[earlier] for earlier, later in pairwise(cycle))
    else:
        assert sorted(order) == sorted(needs)
        for key, needed in needs.items():
            assert all(order.index(n) < order.index(key) for n in needed if n in needs)


def test_keeps_the_given_order_where_it_can() -> None:
    assert in_order({"c": [], "a": ["b"], "b": [], "d": []}) == ["c", "b", "a", "d"]


def test_long_chains() -> None:
    assert in_order({k: [k + 1] for k in range(50_000)})[0] == 49_999


def test_cycle_is_shown() -> None:
    with pytest.raises(Cycle, match="a -> b -> a"):
        in_order({"a": ["b"], "b": ["a"]})


GRAPHS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3))


@given(GRAPHS, st.sets(st.integers(0, 9), max_size=2), st.sets(st.integers(0, 9), max_size=2))
def test_what_is_reached_is_closed_and_has_a_way_to_it(
    edges: dict[int, list[int]], starts: set[int], ends: set[int]
) -> None:
    found = reached(edges, starts, ends)
    assert starts <= found
    assert all(target in found for node in found - ends for target in edges.get(node, ()))
    assert all(node in starts or any(node in edges.get(other, ()) for other in found - ends) for node in found)


@given(GRAPHS)
def test_reversed_edges_are_the_same_edges(edges: dict[int, list[int]]) -> None:
    back = reversed_edges(edges)
    assert sorted((a, b) for a, targets in edges.items() for b in targets) == sorted(
        (a, b) for b, starts in back.items() for a in starts
    )
