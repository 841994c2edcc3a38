import pytest

from rbcc.compiler.driver import compile_spec
from rbcc.compiler.tools.summary import summary
from rbcc.compiler.util.text import counted, split_outside_brackets


@pytest.mark.parametrize(
    ("number", "one", "several", "words"),
    [
        (0, "account", None, "no accounts"),
        (1, "account", None, "1 account"),
        (2, "account", None, "2 accounts"),
        (1, "index", "indices", "1 index"),
        (3, "index", "indices", "3 indices"),
    ],
)
def test_counted(number: int, one: str, several: str | None, words: str) -> None:
    assert counted(number, one, several) == words


def test_a_summary_counts_in_words() -> None:
    text = summary(compile_spec("cournot"), "no module")
    assert text.splitlines()[1] == "1 step; 2 agents of 1 type"
    assert "sees     no numbers\n" in text
    assert "3 equations in 1 group, 3 parameters, no accounts, no identities, no invariants" in text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.1", ["0.1"]),
        ("0.1, 0.2,0.4", ["0.1", "0.2", "0.4"]),
        ("[8, 8],[16]", ["[8, 8]", "[16]"]),
        ("max(1, {a: 2, b: 3}), 4", ["max(1, {a: 2, b: 3})", "4"]),
        ("'a, b',\"c, 'd\"", ["'a, b'", '"c, \'d"']),
        ("1,", ["1", ""]),
        (")1,2", [")1", "2"]),
    ],
)
def test_lists_are_split_outside_brackets(text: str, parts: list[str]) -> None:
    assert split_outside_brackets(text) == parts
