"""The parts behind the language server, without a client: renaming everything, and text that is broken anyhow."""

import random
import re
from pathlib import Path

import pytest

from rbcc.compiler import ir
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.reserved import DISTRIBUTIONS
from rbcc.compiler.source import shipped_models
from rbcc.editor import descriptions
from rbcc.editor.complete import complete
from rbcc.editor.diagnostics import findings
from rbcc.editor.navigate import definition, hover
from rbcc.editor.rename import Refused, references, rename
from rbcc.editor.symbols import outline
from rbcc.editor.workspace import Analysis, Workspace, short


MARKET = Path(__file__).parent.parent / "specs" / "market.yaml"
CHILD = (
    "rbcc: 1\nextends: market.yaml\nmodel: child\nparameters:\n  cost: 3\nequations:\n"
    "  notes: |\n    dear[j] = price[j] >= 2 * cost + seller.price[j]\n"
    "training:\n  schedules: {cool: 1 - progress}\n"
    "  phases: {learn: {iterations: 2, economies: 2, entropy: cool, seller: {clip: 0.2 * cool}}}\n"
    "  anneal: {money_value: progress, seller.set_price: {open: [0, 1], from: 5}}\n"
    "verify: {alive: [visits > 0], shutdown: {seller.set_price: 0}}\n"
)


@pytest.fixture
def market(tmp_path: Path) -> Workspace:
    """A spec and one that extends it, both open."""
    workspace = Workspace([tmp_path])
    for name, text in (("market.yaml", MARKET.read_text()), ("child.yaml", CHILD)):
        (tmp_path / name).write_text(text)
        workspace.write(tmp_path / name, text)
    return workspace


def changed(workspace: Workspace, offset: int, path: Path, name: str) -> Workspace:
    """The workspace after a name was changed."""
    places = rename(workspace, path, offset, name)
    after = Workspace(workspace.folders)
    for file, text in workspace.texts.items():
        for span in reversed(places.get(file, [])):
            text = text[: span.start] + name + text[span.end :]
        after.write(file, text)
    return after


def model_text(analysis: Analysis) -> str:
    assert analysis.reading.model is not None, analysis.reading.diagnostics.errors
    return analysis.reading.model.text()


@pytest.mark.parametrize(("file", "least"), [("child.yaml", 8), ("market.yaml", 20)])
def test_every_name_can_be_changed_and_changed_back(market: Workspace, tmp_path: Path, file: str, least: int) -> None:
    path, child = tmp_path / file, tmp_path / "child.yaml"
    before = model_text(market.analysis(child))
    names = {(m.what, m.name): m for m in market.analysis(path).mentions if Path(m.span.source.name) == path}
    count = 0
    for (what, name), mention in names.items():
        try:
            after = changed(market, mention.span.start, path, "fresh_name")
        except Refused:
            reserved = name in ("@progress", "time", "util", "buyer.reward", "seller.reward")
            assert reserved or what in (What.FUNCTION, What.KEY)
            continue
        count += 1
        assert re.sub(r"\bfresh_name\b", short(name), model_text(after.analysis(child))) == before
        places = (m.span for m in after.analysis(path).mentions if short(m.name) == "fresh_name")
        start = next(span.start for span in places if Path(span.source.name) == path)
        assert changed(after, start, path, short(name)).texts == market.texts
    assert count >= least


def test_a_name_of_one_child_leaves_the_other_alone(market: Workspace, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CHILD.replace("model: child", "model: other"))
    path = tmp_path / "child.yaml"
    start = CHILD.index("cool")
    assert {Path(span.source.name).name for span in references(market, path, start)} == {"child.yaml"}
    assert set(rename(market, path, start, "cold")) == {path}
    # What the parent has is changed in both, although only one of them is open.
    assert set(rename(market, path, CHILD.index("price[j] >="), "charge")) == {path, other, tmp_path / "market.yaml"}


def test_renaming_looks_at_specs_with_errors(market: Workspace, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("rbcc: 1\nextends: market.yaml\nmodel: 1 2\nhorizon: none\n")
    with pytest.raises(Refused, match=r"mend the errors of broken.yaml first"):
        rename(market, tmp_path / "child.yaml", CHILD.index("price[j] >="), "charge")


def test_folders_of_installed_packages_are_not_the_authors(tmp_path: Path) -> None:
    workspace = Workspace([tmp_path])
    assert workspace.contains(tmp_path / "models" / "a.yaml")
    assert not workspace.contains(tmp_path / ".venv" / "lib" / "a.yaml")
    assert not workspace.contains(tmp_path / "env" / "site-packages" / "a.yaml")
    assert not workspace.contains(tmp_path.parent / "a.yaml")


@pytest.mark.parametrize("seed", range(60))
def test_nothing_fails_on_broken_text(market: Workspace, tmp_path: Path, seed: int) -> None:
    """Questions at random places of randomly mutilated text, by an editor that has seen the good one before."""
    chance, path = random.Random(seed), tmp_path / "market.yaml"
    good = text = market.texts[path]
    if seed % 2:
        market.analysis(path)
    for _ in range(chance.randint(1, 6)):
        at, length = chance.randrange(len(text)), chance.choice([0, 1, 1, 5, 40])
        text = (
            text[:at]
            + chance.choice(["", "[", ":", '"', "\n", " x", "'", "\t", "{", "|", "sum(", "- "])
            + text[at + length :]
        )
    market.write(path, text)
    analysis = market.analysis(path)
    list(findings(analysis))
    outline(analysis)
    for _ in range(40):
        offset = chance.randrange(len(text) + 1)
        hover(analysis, offset)
        definition(analysis, offset, market)
        complete(analysis.source, offset, analysis, market)
    references(market, path, chance.randrange(len(text) + 1))
    market.write(path, good)
    assert list(findings(market.analysis(path))) == []


def test_every_function_of_the_language_is_described() -> None:
    assert set(descriptions.BUILT_IN) == {*ir.REDUCTIONS, *DISTRIBUTIONS, "since"}


def test_shipped_models_are_described_throughout() -> None:
    """Every name of the largest model has a description with its place."""
    path = shipped_models() / "closed_rbc.yaml"
    workspace = Workspace([path.parent])
    workspace.write(path, path.read_text(encoding="utf-8"))
    analysis = workspace.analysis(path)
    for mention in analysis.mentions:
        found = hover(analysis, mention.span.start)
        assert found is not None
        text, span = found
        assert short(mention.name) in text
        assert span == mention.span
        if mention.what not in (What.FUNCTION, What.KEY) and mention.name not in ("util", "time", "@progress"):
            assert "closed_rbc.yaml:" in text
            assert definition(analysis, mention.span.start, workspace)
