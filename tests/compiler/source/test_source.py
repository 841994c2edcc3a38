from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.source import Document, Scalar, load


def read(path: Path, **overrides: object) -> Document:
    diagnostics = Diagnostics()
    document = load(path, {k.replace("__", "."): v for k, v in overrides.items()}, diagnostics)
    diagnostics.raise_if_failed()
    assert document is not None
    return document


def codes(path: Path, overrides: dict[str, object] | None = None) -> list[str]:
    diagnostics = Diagnostics()
    load(path, overrides, diagnostics)
    assert diagnostics.failed
    return [d.code for d in diagnostics.errors]


def test_words_and_numbers_are_those_of_yaml_1_2(write_spec) -> None:
    text = "a: no\nb: 1e-3\nc: on\nd: 010\ne: .5\nf: true\ng: null\nh: 1_000\ni: '5'\nj: 0x10\nk: 12:30\n"
    assert read(write_spec(text)).plain == {
        "a": "no", "b": 0.001, "c": "on", "d": "010", "e": 0.5, "f": True, "g": None, "h": "1_000", "i": "5",
        "j": "0x10", "k": "12:30",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: 1\na: 2\n", "RB003"),
        ("a: &x 1\n", "RB004"),
        ("a: [*x]\n", "RB004"),
        ("a: !!python/object/apply:os.system [ls]\n", "RB004"),
        ("a: {<<: {b: 1}}\n", "RB004"),
        ("a: 1\n---\nb: 2\n", "RB004"),
        ("[1]: 2\n", "RB004"),
        ("a:\n\tb: 1\n", "RB002"),
        ("a: [1\n", "RB002"),
        ("a: x: y\n", "RB002"),
        ("a: '\x01'\n", "RB002"),
        ("- 1\n", "RB103"),
        ("", "RB103"),
        ("a: " + "[" * 60 + "]" * 60, "RB005"),
        ("extends: [a, b]\n", "RB103"),
        ("extends: nowhere.yaml\n", "RB001"),
        ("extends: model.yaml\n", "RB006"),
    ],
)
def test_refused(write_spec, text: str, code: str) -> None:
    assert codes(write_spec(text)) == [code]


def test_what_cannot_be_read_is_left_out_and_the_rest_goes_on(write_spec) -> None:
    diagnostics = Diagnostics()
    document = load(write_spec("a: *x\nb: !!str 2\nc:\nd: 4\nd: 5\ne: &y 6\n"), None, diagnostics)
    assert document is not None
    assert document.plain == {"d": 4, "e": 6}
    assert [d.code for d in diagnostics.errors] == ["RB004", "RB004", "RB105", "RB003", "RB004"]
    assert {"a", "b", "c"} <= diagnostics.broken


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"a: \xff\xfe\n")
    assert codes(path) == ["RB001"]
    assert codes(tmp_path) == ["RB001"]
    assert codes(tmp_path / "none.yaml") == ["RB001"]
    path.write_text("a: 1\n" * 3_000_000)
    assert codes(path) == ["RB005"]


def test_extends_merges_tables_and_null_removes(write_spec) -> None:
    write_spec("a: {x: 1, y: {value: 2, doc: two}}\nb: [1, 2]\nc: 3\n", "base.yaml")
    document = read(write_spec("extends: base.yaml\na: {y: 5, z: 6}\nb: [7]\nc: null\n"))
    assert document.plain == {
        "a": {"x": 1, "y": {"value": 5, "doc": "two"}, "z": 6},
        "b": [7],
        "extends": "base.yaml",
    }
    assert document.span(("a", "x")).place.endswith("base.yaml:1:8")
    assert document.span(("a", "y", "value")).place.endswith("model.yaml:2:8")


def test_overrides(write_spec) -> None:
    path = write_spec("a: {x: 1, y: {value: 2, doc: two}}\nw: {firm.price: 3}\n")
    document = read(path, a__x=9, a__y="2 * b", w__firm__price="[1, 2]", a__new=True)
    assert document.plain == {
        "a": {"x": 9, "y": {"value": "2 * b", "doc": "two"}, "new": True},
        "w": {"firm.price": [1, 2]},
    }
    assert codes(path, {"b.c": 1}) == ["RB007"]
    assert codes(path, {"a.x.z": 1}) == ["RB007"]
    assert codes(path, {"a": "{x: [}"}) == ["RB002"]


def test_settings_that_were_left_out_can_be_set(write_spec) -> None:
    text = "agents: {baker: {count: 1}}\ntraining: {phases: {learn: {iterations: 9}}}"
    paths = ("verify.target", "training.baker.entropy", "training.default.gae", "training.phases.learn.baker.epochs")
    for path in paths:
        read(write_spec(text), **{path: 1})
    document = read(write_spec(text), training__phases__learn__baker__epochs=3)
    assert document.plain["training"] == {"phases": {"learn": {"iterations": 9, "baker": {"epochs": 3}}}}  # type: ignore[index,call-overload]
    for path in ("training.backer.entropy", "training.phases.lern.economies", "training.phases.learn.default.x", "a.b"):
        assert codes(write_spec(text), {path: 1}) == ["RB007"], path


def test_digest_sees_values_not_layout(write_spec) -> None:
    one = read(write_spec("a: {x: 1}  # comment\nb: 2\n"))
    same = read(write_spec("a:\n  x: 1\n\nb: 2\n", "same.yaml"))
    other = read(write_spec("a: {x: 1}\nb: 3\n", "other.yaml"))
    assert one.digest == same.digest != other.digest


WORD = st.text(alphabet="abcxyz[](),'+-*/ ", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(st.lists(WORD, min_size=1, max_size=5), st.integers(2, 6), st.sampled_from(["|", ">", "'", "plain"]))
def test_every_character_is_found_in_the_file(tmp_path_factory, lines: list[str], indent: int, style: str) -> None:
    """Whatever the YAML style, a character of a value and the character at its place in the file are the same."""
    pad = "\n" + " " * indent
    if style in "|>":
        text = f"a: {style}" + "".join(pad + line for line in lines) + "\n"
    elif style == "'":
        text = "a: '" + pad.join(line.replace("'", "''") for line in lines) + "'\n"
    else:
        text = "a: " + "x" + pad.join(line.translate(str.maketrans("", "", "[](),'*-")) or "y" for line in lines) + "\n"
    path = tmp_path_factory.mktemp("spec") / "model.yaml"
    path.write_text(text)
    scalar = read(path).node(("a",))
    assert isinstance(scalar, Scalar)
    for k, character in enumerate(scalar.text):
        span = scalar.locate(k, k + 1)
        if not character.isspace():
            assert text[span.start : span.end] == character
