"""`rbcc fmt`: one layout, the same meaning, every comment."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import CompileError, Diagnostics, Source
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import Document, parse, shipped_models
from rbcc.compiler.tools.formatter import format_files, format_text


MODELS = sorted(shipped_models().glob("*.yaml"))
SPECS = sorted((Path(__file__).parents[2] / "specs").rglob("*.yaml"))

MESSY = """

extends:   x   # start
# c
agents:
    # one
  a:    {count: 3,   # many
   index : i}
  'b':
   reward:  >-
     a+b*c
   observes: [ public,budget , {value: "p[j]/w[j]", scale: 50} ]
   state: {
    x: 1,  # one
    yy: 2 # two
    }
   actions:
     h: {choices: [1,2], doc: 'it''s "x"', unit: "1/hour"}

     # last



invariants:
- a>=0
-   'max(b,c)<=1 '
equations:
  g: |  # group
      a[i] : money/good=  b*c # hi
          +d   # more


      # a comment
      long_name'[i , j]=-1/2*x[i , j]^-2*(a  if b>=c and not d else -e) # c
      sum_[i] = sum( i where employer [i]==j , hours[i] )+1/ 2*3
  h: "x=1"
  bad: |
    a = (
     b = 1
      c ** 2
"""

NEAT = """\
extends: x  # start
# c
agents:
  # one
  a: {count: 3,  # many
      index: i}
  b:
    reward: >-
      a+b*c
    observes: [public, budget, {value: "p[j] / w[j]", scale: 50}]
    state: {
        x: 1,  # one
        yy: 2  # two
      }
    actions:
      h: {choices: [1, 2], doc: it's "x", unit: 1/hour}

      # last

invariants:
  - a >= 0
  - max(b, c) <= 1
equations:
  g: |  # group
    a[i]: money/good = b * c  # hi
                       + d    # more

    # a comment
    long_name'[i,j]  = -1/2 * x[i,j]^-2 * (a if b >= c and not d else -e)  # c
    sum_[i]          = sum(i where employer[i] == j, hours[i]) + 1/2 * 3
  h: x = 1
  bad: |
    a = (
     b = 1
      c ** 2
"""


def test_known_answer() -> None:
    assert format_text(MESSY) == NEAT


def test_escapes_that_need_none() -> None:
    text = 'rbcc: 1\nmodel: m\nindicators:\n  n: "2  *\\u03B1"\n'
    once = format_text(text)
    assert once.endswith("  n: 2 * α\n")
    assert format_text(once) == once


def test_white_space_that_only_quotes_keep() -> None:
    text = 'rbcc: 1\nmodel: m\ntitle: "\\_"\nequations: {a: "\\_", b: "x = 1\\_"}\n'
    assert format_text(text) == text
    text = "rbcc: 1\nmodel: m\nequations:\n  a: \u00a0\n"  # a space to equations, and not to YAML
    assert format_text(text) == text


def test_canonical_stays() -> None:
    assert format_text(NEAT) == NEAT


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_shipped_models_are_in_the_layout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text) == text


def plain(text: str) -> Any:
    source, diagnostics = Source("spec", text), Diagnostics()
    root = parse(source, diagnostics)
    assert root is not None, diagnostics.found
    return Document(root, (source,)).plain


def squeezed(value: Any, key: str = "") -> Any:
    """A value without the white space in its texts, which may differ in expressions, but not under `doc`."""
    if isinstance(value, dict):
        return {k: squeezed(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [squeezed(v, key) for v in value]
    return "".join(value.split()) if isinstance(value, str) and key != "doc" else value


def check(text: str) -> str:
    """Formats `text`, and checks that nothing but layout has changed."""
    found = format_text(text)
    assert format_text(found) == found
    assert squeezed(plain(found)) == squeezed(plain(text))
    assert list(plain(found)) == list(plain(text))
    return found


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_bad_specs(path: Path) -> None:
    """What is not YAML is refused with its diagnostic; a mistake in the meaning does not matter."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        assert path.stem == "not_utf8"
        return
    source, diagnostics = Source("spec", text), Diagnostics()
    if parse(source, diagnostics) is None or diagnostics.failed:
        with pytest.raises(CompileError) as refused:
            format_text(text)
        assert refused.value.diagnostics[0].code in ("RB002", "RB003", "RB004", "RB005", "RB103", "RB105")
    else:
        found = check(text)
        assert re.findall(r"#.*", found) == [comment.rstrip() for comment in re.findall(r"#.*", text)]


# --- the meaning of models -----------------------------------------------------------------------------------------


def content(model: ir.Model) -> ir.Model:
    """A model without what layout may change: digest, places, white space in the author's texts."""
    nowhere = ir.Place("", 0, 0)

    def neutral(node: Any) -> Any:
        if isinstance(node, tuple):
            return tuple(map(neutral, node))
        if isinstance(node, (ir.Definition, ir.Action, ir.Constraint, ir.Identity, ir.Symbol)):
            node = replace(node, place=nowhere)
        if isinstance(node, ir.Account):
            return replace(node, place=nowhere, flows=neutral(node.flows))
        if isinstance(node, ir.Flow):
            return replace(node, place=nowhere, text="".join(node.text.split()))
        if isinstance(node, ir.Definition):
            return replace(node, text="".join(node.text.split()))
        if isinstance(node, (ir.Statement, ir.Feature)):
            return replace(node, place=nowhere, name="".join(node.name.split()))
        if isinstance(node, ir.Observation):
            return replace(node, shared=neutral(node.shared), own=neutral(node.own), fixed=neutral(node.fixed))
        if isinstance(node, ir.Phase):
            return replace(node, schedules=neutral(node.schedules), anneal=neutral(node.anneal))
        if isinstance(node, ir.Verification):
            return replace(node, alive=neutral(node.alive))
        return node

    changed = {name: neutral(getattr(model, name)) for name in ir.Model.__dataclass_fields__}
    return replace(model, **{**changed, "digest": "", "files": ()})


def untidy(text: str, rng: random.Random) -> str:
    """The same spec as a careless author would have laid it out."""
    lines = []
    for line in text.split("\n"):
        code = line.split("#")[0]
        if '"' not in code and rng.random() < 0.5:
            line = re.sub(
                r"([,{]) ?(?=[\w{])", lambda m: m[1] + rng.choice(["", " ", "   "]) if m[1] == "{" else ",  ", line
            )
        if rng.random() < 0.3 and line.strip():
            line += rng.choice(["   ", "  # note", " "])
        if rng.random() < 0.5 and line.startswith("    "):
            line = line.replace(" + ", rng.choice(["+", "   +  "])).replace(" * ", rng.choice(["*", " *  "]))
        if rng.random() < 0.5 and line.startswith("    ") and not line.endswith("|"):
            line = re.sub(r" += ", " = ", line)
        lines.append(line)
        if rng.random() < 0.05 and not line.endswith(("|", ",")):
            lines += [""] * rng.randrange(1, 4)
    return "\n".join(lines)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["closed_rbc", "cournot", "starter"]), st.integers(0, 1000))
def test_same_model(tmp_path_factory: pytest.TempPathFactory, name: str, seed: int) -> None:
    text = (shipped_models() / f"{name}.yaml").read_text(encoding="utf-8")
    messy = untidy(text, random.Random(seed))
    assert messy != text
    folder = tmp_path_factory.mktemp("specs")
    (folder / "messy.yaml").write_text(messy, encoding="utf-8")
    (folder / "neat.yaml").write_text(check(messy), encoding="utf-8")
    before, after = (compile_spec(folder / f"{which}.yaml").model for which in ("messy", "neat"))
    assert content(before) == content(after)


# --- generated specs -----------------------------------------------------------------------------------------------

PLAIN = ["x", "1", "no", "1e-3", "a+b*c", "-x", "a b", "1%", "~", "p[j]/2", "max(a, b)", "it's", "x:y", "x#y"]
QUOTED = [
    "'it''s'",
    "'a: b'",
    "'# no'",
    '"say \\"x\\""',
    '"a, b"',
    "'1'",
    '""',
    "'true'",
    '"tab\\t"',
    "'[a]'",
    '"x+y"',
    "'-'",
]
EQUATIONS = [
    "a[i]=b*c",
    "x' = -y",
    "s = sum(i,x[i])  ",
    "v: money/good=1/2*z",
    "long = (1",
    "    + 2)",
    "w[i,j] =a",
    "  +b",
]


class Writer:
    """Writes a spec with odd spaces, indentation, quotes and comments."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.comments = 0

    def comment(self) -> str:
        self.comments += 1
        return f"# c{self.comments} x"

    def tail(self) -> str:
        return self.rng.choice(["", "", "", " ", "   ", f" {self.comment()}", f"    {self.comment()}  "])

    def above(self, indent: int) -> list[str]:
        """Lines that may come before any other."""
        rng = self.rng
        comment = " " * rng.choice([0, indent, indent, indent + 1]) + self.comment()
        return rng.choice([[], [], [], [""], ["  ", ""], [comment], ["", comment, ""]])

    def flow(self, depth: int) -> str:
        rng = self.rng
        gaps = ["", " ", "  ", "\n          ", f" {self.comment()}\n          "]
        if depth == 0 or rng.random() < 0.4:
            return rng.choice(
                [text for text in [*PLAIN, *QUOTED] if text[0] in "'\"" or not re.search(r"[\[\],]", text)]
            )
        gap = rng.choice(gaps)
        names = rng.sample(["a", "'b'", "c d", "value", "e"], rng.randrange(4))
        if rng.random() < 0.5:
            return "[" + gap + ("," + gap).join(self.flow(depth - 1) for _ in names) + gap + "]"
        return (
            "{"
            + gap
            + ("," + gap).join(f"{name}:{rng.choice([' ', '   '])}{self.flow(depth - 1)}" for name in names)
            + gap
            + "}"
        )

    def literal(self, key: str, pad: str, indent: int) -> list[str]:
        rng = self.rng
        margin = " " * (indent + rng.randrange(1, 5))
        if key == "doc":
            body = rng.sample(["Words.", "  further in", "", "more # no comment", "- item"], rng.randrange(1, 5))
            head = rng.choice(["|", "|-", "|+", ">", ">-"])
            return [
                f"{pad}{key}: {head}{self.tail()}",
                f"{margin}First.",
                *(margin + line if line else "" for line in body),
            ]
        body = rng.sample(EQUATIONS, rng.randrange(1, 6))
        return [
            f"{pad}{key}: |{self.tail()}",
            f"{margin}first=1{self.tail()}",
            *(f"{margin}{line}{self.tail()}" for line in body),
        ]

    def table(self, indent: int, depth: int, keys: list[str]) -> list[str]:
        rng, pad, lines = self.rng, " " * indent, []
        for key in rng.sample(keys, rng.randrange(1, len(keys) + 1)):
            lines += self.above(indent)
            shown = rng.choice([key, key, f"'{key}'", f'"{key}"'])
            colon = rng.choice([":", ":", " :"])
            deeper = indent + rng.randrange(1, 5)
            kind = rng.choice(["plain", "quoted", "flow", "table", "list", "literal", "several", "empty"])
            if key in ("equations", "agents") or (kind == "table" and depth):
                inner = {"equations": ["g", "h", "i"], "agents": ["one"], "one": ["reward", "state", "doc"]}.get(
                    key, ["a", "b"]
                )
                lines += [f"{pad}{shown}{colon}{self.tail()}", *self.table(deeper, depth - 1, inner)]
            elif kind == "flow":
                lines.append(f"{pad}{shown}{colon} {self.flow(2)}{self.tail()}")
            elif kind == "list":
                dash = " " * (indent + rng.randrange(3))
                lines.append(f"{pad}{shown}{colon}{self.tail()}")
                for _ in range(rng.randrange(1, 4)):
                    value = rng.choice([*PLAIN, *QUOTED, "a: 1", "- x"])
                    lines += [*self.above(len(dash)), f"{dash}-{rng.choice([' ', '   '])}{value}{self.tail()}"]
            elif kind == "literal":
                lines += self.literal(key, pad, indent)
            elif kind == "several":
                quote = rng.choice(["", "'", '"'])
                lines += [f"{pad}{key}:  {quote}a+b", f"{pad}     +  c", f"{pad}  *d{quote}{self.tail()}"]
            else:
                value = rng.choice({"plain": PLAIN, "quoted": QUOTED}.get(kind, [""]))
                lines.append(f"{pad}{shown}{colon} {rng.choice(['', '  '])}{value}{self.tail()}")
        return lines

    def spec(self) -> str:
        keys = ["model", "equations", "agents", "parameters", "invariants", "doc", "public"]
        lines = [*self.above(0), *self.table(0, 3, keys), *self.above(0)]
        return "\n".join(lines) + self.rng.choice(["", "\n", "\n\n"])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**48))
def test_generated(seed: int) -> None:
    text = Writer(random.Random(seed)).spec()
    diagnostics = Diagnostics()
    assume(parse(Source("spec", text), diagnostics) is not None and not diagnostics.failed)
    found = check(text)
    assert re.findall(r"# c\d+ x", found) == re.findall(r"# c\d+ x", text)
    assert not re.search(r"\n\n\n\n", found) or re.search(r"[|>]\+", found)


# --- files ---------------------------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    good, neat, broken = (tmp_path / f"{name}.yaml" for name in ("good", "neat", "broken"))
    good.write_bytes(b"\xef\xbb\xbfa:   1\r\nb: 2")
    good.chmod(0o640)
    neat.write_text("a: 1\n")
    broken.write_text("a: [1\n")
    link = tmp_path / "link.yaml"
    link.symlink_to(good)
    before = neat.stat().st_mtime_ns
    changed, diagnostics = format_files([neat, broken, link, tmp_path / "none.yaml"], write=False)
    assert (changed, [d.code for d in diagnostics]) == ({neat: False, link: True}, ["RB002", "RB001"])
    assert good.read_bytes().startswith(b"\xef\xbb\xbfa:   1")
    assert format_files([neat, link], write=True) == ({neat: False, link: True}, ())
    assert good.read_bytes() == b"a: 1\nb: 2\n"
    assert good.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert neat.stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.yaml", "good.yaml", "link.yaml", "neat.yaml"]


@pytest.mark.parametrize("text", ["? a\n: 1\n", "a: ! |\n  x\n", "{? a}\n"])
def test_refused(text: str) -> None:
    with pytest.raises(CompileError) as refused:
        format_text(text)
    assert [d.code for d in refused.value.diagnostics] in (["RB004"], ["RB105"])


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
def test_line_breaks_that_editors_do_not_see_are_refused(character: str) -> None:
    with pytest.raises(CompileError, match="a line break that specs do not use"):
        format_text(f"a: 1  # {character}b: 2\n")
