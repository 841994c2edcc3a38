"""Where a cursor stands, in text that need not be YAML."""

import pytest
from hypothesis import given, strategies as st

from rbcc.compiler.diagnostics import Source
from rbcc.compiler.source import Scalar, shipped_models
from rbcc.editor.cursor import place_at
from rbcc.editor.workspace import entry_at, spot_at, tree_of


@pytest.mark.parametrize(
    ("text", "path", "is_key", "before"),
    [
        ("", (), True, ""),
        ("par", (), True, "par"),
        ("a: 1\nb:\n  ", ("b",), True, ""),
        ("b:\n  c: 1\n  ", ("b",), True, ""),
        ("b:\n  c:\n    d: 1\n  e", ("b",), True, "e"),
        ("b:\n  c: {va", ("b", "c"), True, "va"),
        ("b:\n  c: {value: 0.1, un", ("b", "c"), True, "un"),
        ("b:\n  c: {value: 0.1, unit: mo", ("b", "c", "unit"), False, "mo"),
        ("b: {c: {d: 1, e", ("b", "c"), True, "e"),
        ("b: {c: {d: 1}, e", ("b",), True, "e"),
        ("b: {c: [1, 2], e: ", ("b", "e"), False, ""),
        ("b: [x, y", ("b", 1), False, "y"),
        ("b: [x[i,j], y", ("b", 1), False, "y"),
        ("b:\n  - x\n  - y", ("b", 1), False, "y"),
        ("b:\n- x\n- y", ("b", 1), False, "y"),
        ("b:\n  - x\n  - {value: y", ("b", 1, "value"), False, "y"),
        ("b:\n  - value: x\n    sc", ("b", 0), True, "sc"),
        ("b: |\n  x = 1\n  y = 2 +", ("b",), False, "  x = 1\n  y = 2 +"),
        ("a:\n  b: |\n    x = 1\n  c", ("a",), True, "c"),
        ("a:\n  b: |\n    x = 1\n\n    y", ("a", "b"), False, "    x = 1\n\n    y"),
        ('a:\n  b: "x +\n    y', ("a", "b"), False, "x +\n    y"),
        ('a:\n  b: "x"\n  c', ("a",), True, "c"),
        ("a:\n  goods market: x", ("a", "goods market"), False, "x"),
        ("a:\n  # b: {\n  c", ("a",), True, "c"),
        ("a: {b: 1,\n  c: 2,\n  d", ("a",), True, "d"),
        ("a: 'x: 1'\nb", (), True, "b"),
    ],
)
def test_place(text: str, path: tuple[str | int, ...], is_key: bool, before: str) -> None:
    found = place_at(text + "\nrest: 1", len(text))
    assert (found.path, found.is_key, found.before) == (path, is_key, before)


@pytest.mark.parametrize("name", ["closed_rbc", "cournot", "open_rbc_small"])
def test_agrees_with_yaml_on_every_value(name: str) -> None:
    """At the start of each value that is not text block the place by indentation is that of the parser."""
    source = Source(name, (shipped_models() / f"{name}.yaml").read_text(encoding="utf-8"))
    tree = tree_of(source)
    assert tree is not None
    seen = set()
    for offset in range(len(source.text)):
        spot = spot_at(tree, offset)
        entry = entry_at(tree, spot.path) if spot is not None and not spot.on_key else None
        if spot is None or entry is None or not isinstance(entry.node, Scalar) or entry.node.quote in ("|", ">"):
            continue
        start = entry.node.span.start + bool(entry.node.quote)
        if start not in seen:
            seen.add(start)
            found = place_at(source.text, start)
            assert (found.path, found.is_key) == (spot.path, False)
    assert len(seen) >= 10


@given(st.text(alphabet="ab:{}[]|,-'\"# \n\t", max_size=60))
def test_any_text_has_a_place(text: str) -> None:
    for offset in range(len(text) + 1):
        place_at(text, offset)
