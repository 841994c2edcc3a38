"""The compiler remembers where names stand, and tells what it found of a spec that has mistakes."""

import re
from pathlib import Path

import pytest

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.driver import Reading, examine
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.compiler.source import shipped_models


MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))


def mentions(reading: Reading) -> list[Mention]:
    assert reading.context is not None
    return reading.context.names.mentions


def text(mention: Mention) -> str:
    span = mention.span
    return span.source.text[span.start : span.end]


@pytest.mark.parametrize("name", MODELS)
def test_every_name_in_every_equation_is_remembered(name: str) -> None:
    reading = examine(name)
    assert reading.document is not None
    assert reading.context is not None
    places = {(m.span.source.name, m.span.start, m.span.end) for m in mentions(reading)}
    count = 0
    for group in reading.context.spec.equations:
        scalar = reading.document.scalar(("equations", group))
        for equation in syntax.parse_equations(scalar, Diagnostics())[0]:
            span = equation.span
            for word in re.finditer(r"[^\W\d][\w.]*", span.source.text[span.start : span.end].partition("#")[0]):
                if word.group() not in ("if", "else", "and", "or", "not", "where", "true", "false"):
                    start = span.start + word.start()
                    assert (span.source.name, start, start + len(word.group())) in places, word.group()
                    count += 1
    assert count > 3


def test_what_the_names_mean() -> None:
    found = {(text(m), m.name, m.what) for m in mentions(examine("closed_rbc"))}
    assert {
        ("price", "firm.price", What.SYMBOL),
        ("budget", "consumer.budget'", What.SYMBOL),
        ("consumer.reward", "consumer.reward", What.SYMBOL),
        ("firm.set_price", "firm.set_price", What.SYMBOL),
        ("set_wage", "firm.set_wage", What.SYMBOL),
        ("cool", "@schedule.cool", What.SYMBOL),
        ("progress", "@progress", What.SYMBOL),
        ("welfare", "@indicator.welfare", What.SYMBOL),
        ("hours", "@indicator.hours", What.SYMBOL),
        ("firm", "firm", What.AGENT),
        ("j", "j", What.INDEX),
        ("crra", "crra", What.FUNCTION),
        ("sum", "sum", What.FUNCTION),
        ("no_ponzi", "consumer.no_ponzi", What.CONSTRAINT),
        ("money", "money", What.UNIT),
        ("public", "public", What.KEY),
    } <= found


def test_definitions_have_an_extent() -> None:
    found = {m.name: m for m in mentions(examine("open_rbc")) if m.extent is not None and m.what is What.SYMBOL}
    assert {"eta", "firm.price", "firm.price'", "exported", "consumer.reward", "@schedule.cool"} <= set(found)
    for name, whole in (
        ("export_price", "export_price: {value: 500, unit: money/good, doc: abroad buys from this price upwards}"),
        ("firm.price'", "price'[j]           = set_price[j]"),
    ):
        extent = found[name].extent
        assert extent is not None
        assert extent.source.text[extent.start : extent.end] == whole


def test_a_value_that_is_overridden_is_defined_by_its_key(write_spec) -> None:
    path = write_spec("rbcc: 1\nextends: closed_rbc\nmodel: mine\nparameters: {technology: 0.02}\n")
    (found,) = (m for m in mentions(examine(path)) if m.name == "technology" and m.extent is not None)
    assert found.span == found.extent
    assert found.span.source.name == str(path)


def test_texts_are_read_in_place_of_files(write_spec, tmp_path: Path) -> None:
    path = write_spec("rbcc: 1\nextends: base.yaml\nmodel: mine\n")
    base = tmp_path / "base.yaml"
    assert examine(path).diagnostics.errors[0].code == "RB001"
    texts = {base: "extends: cournot\nhorizon: 7\n"}
    model = examine(path, texts=texts).model
    assert model is not None
    assert model.horizon == 7
    (error,) = examine(path, texts={path: "rbcc: 1\nextends: cournot\nhorizon: many\n"}).diagnostics.errors
    assert error.span is not None
    assert error.span.place == f"{path}:3:10"


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("horizon: [", (False, False, False)),
        ("agents: null", (True, False, False)),
        ("horizon: 3\nindicators: {wrong: nothing + 1}", (True, True, False)),
        ("horizon: 3", (True, True, True)),
    ],
)
def test_what_is_found_of_a_broken_spec(change: str, known: tuple[bool, ...], write_spec) -> None:
    reading = examine(write_spec(f"rbcc: 1\nextends: cournot\nmodel: mine\n{change}\n"))
    assert known == tuple(part is not None for part in (reading.document, reading.context, reading.model))
    assert reading.diagnostics.failed == (not all(known))
