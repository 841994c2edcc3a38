"""`rbcc doc`: the page of a model in its three forms, and words that try to break out of them."""

import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pylatexenc.latexwalker import LatexWalker

from rbcc.compiler.backends.docs.document import Block, Heading, Timing, page
from rbcc.compiler.driver import Compiled, compile_spec
from rbcc.compiler.source import shipped_models
from rbcc.compiler.tools.doc import FORMS, document
from rbcc.compiler.tools.summary import summary


HOSTILE = Path(__file__).parents[3] / "specs" / "hostile.yaml"
MODELS = [*sorted(path.stem for path in shipped_models().glob("*.yaml")), str(HOSTILE)]


@cache
def compiled_of(name: str) -> Compiled:
    return compile_spec(name)


def blocks(compiled: Compiled) -> tuple[Block, ...]:
    return page(compiled.model, compiled.tables).blocks


VOID = {"meta", "path", "rect"}
TAGS = set(
    "html head meta title style body h1 h2 h3 h4 p nav ul li a div table tr th td code svg rect text path"
    " math mrow mi mo mn mtext mspace msub msup msubsup munder mover munderover mfrac msqrt mtable mtr mtd".split()
)
ATTRIBUTES = set(
    "lang charset name content id href class viewbox width height x y rx d role aria-label displaystyle mathvariant"
    " stretchy form movablelimits".split()
)


class Reader(HTMLParser):
    """Checks that all that is opened is closed, and collects elements and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", MODELS)
def test_html_is_whole_and_loads_nothing(name: str) -> None:
    text = document(compiled_of(name), ".html")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert {tag for tag, _ in reader.seen} <= TAGS
    for _, attributes in reader.seen:
        assert set(attributes) <= ATTRIBUTES
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    anchors = {attributes["id"] for _, attributes in reader.seen if "id" in attributes}
    assert {f"#{anchor}" for anchor in anchors} == {a["href"] for tag, a in reader.seen if tag == "a"}


def tokens(text: str) -> list[Token]:
    found = MarkdownIt("commonmark").enable("table").parse(text)
    return [*found, *(inner for token in found for inner in token.children or [])]


@pytest.mark.parametrize("name", MODELS)
def test_markdown_has_the_structure_of_the_page(name: str) -> None:
    compiled = compiled_of(name)
    found = tokens(document(compiled, ".md"))
    kinds = {token.type for token in found}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "code_block",
        "hr",
        "blockquote_open",
        "em_open",
    }
    headings = sum(isinstance(block, Heading) for block in blocks(compiled))
    assert sum(token.type == "heading_open" for token in found) == headings + 1
    fences = [token for token in found if token.type == "fence"]
    assert [token.info for token in fences].count("text") == 1
    for token in fences:
        assert token.info in ("math", "text")
        if token.info == "math":
            assert token.content.startswith("\\begin{aligned}\n")
            assert token.content.endswith("\\end{aligned}\n")
    rows = [row.map for row in found if row.type == "tr_open"]
    assert len(rows) == len({tuple(row) for row in rows if row})


def test_hostile_words_are_shown_as_they_are() -> None:
    compiled = compiled_of(str(HOSTILE))
    model, reader = compiled.model, Reader()
    reader.feed(document(compiled, ".html"))
    title = " ".join(str(model.title).replace("\u202e", "�").replace("\0", "�").split())
    assert title in reader.words
    assert str(model.reference) in reader.words
    assert "``` <b> $x$ \\input{x} | & % 中" in reader.words
    shown = next(token for token in tokens(document(compiled, ".md")) if token.type == "inline")
    assert "".join(token.content for token in shown.children or []) == title


@pytest.mark.parametrize("name", MODELS)
def test_latex_can_be_parsed(name: str) -> None:
    text = document(compiled_of(name), ".tex")
    assert text.isascii() or name == str(HOSTILE)
    nodes, _, _ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    macros = [node.macroname for node in nodes if hasattr(node, "macroname")]
    assert "input" not in macros
    assert re.findall(r"\\(?:begin|end)\{document\}", text) == ["\\begin{document}", "\\end{document}"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("name", ["open_rbc", str(HOSTILE)])
def test_latex_compiles(name: str, tmp_path: Path) -> None:
    (tmp_path / "page.tex").write_text(document(compiled_of(name), ".tex"), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("form", FORMS)
def test_everything_is_on_the_page(form: str) -> None:
    compiled = compiled_of("open_rbc")
    model, text = compiled.model, document(compiled, form)
    for definition in model.equations:
        if definition.doc:
            assert definition.doc in text
    for symbol in model.symbols:
        if symbol.doc and symbol.name != "time":
            assert (
                symbol.doc.replace(
                    "'", r"\textquotesingle{}" if form == ".tex" else "&#x27;" if form == ".html" else "'"
                )
                in text
            )
    for words in (
        "0 to 2500 by 500",
        "arXiv:2201.01163",
        "closed_rbc.yaml",
        "Pratt (1964)",
        "disutility of work",
        "money/good",
    ):
        assert words.replace("_", r"\_" if form == ".tex" else "_") in text
    for group in {d.group for d in model.equations if d.group}:
        assert group in text


@pytest.mark.parametrize(
    ("changes", "steps", "discounts"),
    [
        ("horizon: 1", "1 step", False),
        ("horizon: 20", "20 steps", True),
        ("horizon: 1\ncontinuing: true", "1 step, after which the economy goes on", True),
        ("horizon: 20\ncontinuing: true", "20 steps, after which the economy goes on", True),
    ],
)
def test_how_long_the_economy_lasts(write_spec, changes: str, steps: str, discounts: bool) -> None:
    compiled = compile_spec(write_spec(f"extends: cournot\nmodel: m\ndiscount: 0.9\n{changes}\nsilence: [RB802]\n"))
    text = document(compiled, ".md")
    assert f"an episode has {steps}." in text
    assert ("A reward of the next step weighs" in text) == discounts
    assert summary(compiled, "").splitlines()[1] == f"{steps}; 2 agents of 1 type"


def test_timing_follows_the_equations() -> None:
    compiled = compiled_of("open_rbc")
    model = compiled.model
    (timing,) = (block for block in blocks(compiled) if isinstance(block, Timing))
    known, chosen, follows, following = timing.stages
    assert dict(known.groups)["consumer"] == ("budget",)
    assert dict(chosen.groups)["consumer"] == ("demand", "hours", "employer")
    assert dict(following.groups)["government"] == ("income_tax'", "corporate_tax'")
    order = [name for _, names in follows.groups for name in names]
    assert order.index("cost") < order.index("wanted") < order.index("consumption") < order.index("spending")
    assert follows.groups[-1] == ("rewards", ("consumer", "firm", "government"))
    values = [d.symbol for d in model.equations if "." not in d.symbol]
    assert sorted(order[:-3]) == sorted(values)


def test_what_follows_from_the_start_alone_is_known(write_spec) -> None:
    spec = (shipped_models() / "starter.yaml").read_text(encoding="utf-8")
    spec = spec.replace("  market: |\n", "  market: |\n    mean_price = mean(j, price[j])\n    shock = normal()\n")
    (timing,) = (b for b in blocks(compile_spec(write_spec(spec))) if isinstance(b, Timing))
    assert ("market", ("mean_price",)) in timing.stages[0].groups
    assert timing.stages[2].when == "with draws, in this order"
