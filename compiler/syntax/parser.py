"""Text of the expression language to an abstract syntax tree with the place of every node."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal, NoReturn

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from platformdirs import user_cache_path

from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.diagnostics.other_languages import number_trap
from rbcc.compiler.ir.units import Unit
from rbcc.compiler.source import Scalar
from rbcc.compiler.syntax.ast import (
    Argument,
    Binary,
    Boolean,
    Call,
    Comparison,
    Conditional,
    Equality,
    Equation,
    Expression,
    Number,
    Reference,
    Target,
    Unary,
)
from rbcc.compiler.syntax.errors import explain


MAX_DEPTH = 100  # later stages walk expressions by recursion, with up to six calls a level of Python's thousand
MAX_DIGITS = 40
SMALLEST, LARGEST = 1e-37, 1e38  # what single precision holds, apart from 0


_SINGLE = re.compile(r"(?<![=<>!])=(?!=)")


def _code(text: str) -> str:
    """`text` with blanks in place of comments: what is left stands where it stood."""
    return re.sub(r"#[^\n]*", lambda comment: " " * len(comment.group()), text)


class _Failed(Exception):
    """The text cannot be read; the diagnostic is recorded."""


def parse_expression(scalar: Scalar, diagnostics: Diagnostics) -> Expression | None:
    """The expression a scalar holds, or None with the reason in `diagnostics`."""
    node = _parse(_Text(scalar, 0, scalar.text), "expression", diagnostics)
    return node  # type: ignore[return-value]


def parse_equations(scalar: Scalar, diagnostics: Diagnostics) -> tuple[list[Equation], set[str]]:
    """The equations of one group, and the names that those which cannot be read were to define, "" for one unknown."""
    equations, broken = [], set()
    for start, text, doc in statements(scalar.text):
        node = _parse(_Text(scalar, start, text), "equation", diagnostics, doc)
        if isinstance(node, Equation):
            equations.append(node)
        else:
            # All that could be a left side: YAML may have made one text of several equations.
            broken.update(left_sides(text) or re.findall(r"^[^\W\d]\w*", text) or [""])
    return equations, broken


def parse_equalities(scalar: Scalar, diagnostics: Diagnostics) -> tuple[list[Equality], bool]:
    """The equations of a group that is solved, and whether some cannot be read."""
    found, broken = [], False
    for start, text, doc in statements(scalar.text):
        one = _Text(scalar, start, text)
        code = _code(text)
        if single := _SINGLE.search(code):
            place = single.start()
            left, right = (" ".join(code[a:b].split()) for a, b in ((0, place), (place + 1, None)))
            diagnostics.error(
                "RB201", "an equation that is solved is written with '=='", one.span(place, place + 1),
                help=f"write {left} == {right}",
            )  # fmt: skip
            broken = True
            continue
        node = _parse(one, "expression", diagnostics)
        if node is None:
            broken = True
        else:
            found.append(Equality(node, " ".join(code.split()), doc))  # type: ignore[arg-type]
    if not found and not broken:
        diagnostics.error("RB201", "no equation to solve", scalar.span, help="write one a line: left == right")
        broken = True
    return found, broken


def left_sides(text: str) -> list[str]:
    """All names in `text` that stand where the left side of an equation does."""
    return re.findall(r"\b([^\W\d]\w*+)'?+(?:\[[^\[\]]*+\])?+\s*+(?::[^=:]*+)?+=(?!=)", text)


def parse_unit(scalar: Scalar, diagnostics: Diagnostics) -> Unit | None:
    """The unit a scalar names, or None with the reason in `diagnostics`."""
    node = _parse(_Text(scalar, 0, scalar.text), "unit", diagnostics)
    return node  # type: ignore[return-value]


def unit_of(text: str) -> Unit:
    """The unit that `text` names. Raises ValueError if it names none."""
    diagnostics = Diagnostics()
    unit = parse_unit(Scalar(text, text, Span(Source("unit", text), 0, len(text))), diagnostics)
    if unit is None:
        raise ValueError(diagnostics.errors[0].message)
    return unit


def statements(block: str) -> list[tuple[int, str, str | None]]:
    """Splits a block into equations: (offset, text, comment).

    An equation goes on over lines that are indented deeper than its first, and while a bracket is open.
    """
    statements: list[list[int]] = []
    offset, depth, indent = 0, 0, 0
    for line in block.splitlines(keepends=True):
        code = line.split("#", 1)[0]
        if code.strip():
            own = len(code) - len(code.lstrip())
            if statements and (depth > 0 or own > indent):
                statements[-1][1] = offset + len(line.rstrip("\n"))
            else:
                indent, depth = own, 0
                statements.append([offset + own, offset + len(line.rstrip("\n"))])
            depth += sum(code.count(c) for c in "([") - sum(code.count(c) for c in ")]")
        offset += len(line)
    found = []
    for start, end in statements:
        text = block[start:end]
        comments = [part.strip() for part in re.findall(r"#([^\n]*)", text)]
        found.append((start, text, " ".join(comments) or None))
    return found


def tokens(text: str, start: Literal["expression", "equation"]) -> list[Token] | None:
    """The tokens of `text`, comments left out, or None if it is not an expression or equation."""
    try:
        reading = _parser().parse_interactive(text, start=start)
        found = reading.exhaust_lexer()
        reading.feed_eof()
    except UnexpectedInput:
        return None
    return found


@cache
def _parser() -> Lark:
    """The parser; its tables, which take longer to make than a spec to check, are kept in the user's cache folder."""
    grammar = files("rbcc.compiler.syntax").joinpath("grammar.lark").read_text(encoding="utf-8")
    tables = user_cache_path("rbcc") / f"grammar-{sha256(grammar.encode()).hexdigest()[:12]}.pickle"
    with suppress(OSError):
        tables.parent.mkdir(parents=True, exist_ok=True)
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",  # one set of patterns to compile, not one for each state of the parser
        start=["expression", "equation", "unit"],
        maybe_placeholders=True,
        cache=str(tables),
    )


@lru_cache(maxsize=4096)
def _tree(text: str, start: str) -> Tree:
    """What is read again with nothing changed, as in an editor, is not parsed again."""
    return _parser().parse(text, start=start)


@dataclass(frozen=True)
class _Text:
    """A piece of a scalar, with the way back to its place in the file."""

    scalar: Scalar
    start: int
    text: str

    def span(self, start: int, end: int) -> Span:
        return self.scalar.locate(self.start + start, self.start + end)


def _parse(
    text: _Text, start: str, diagnostics: Diagnostics, doc: str | None = None
) -> Expression | Equation | Unit | None:
    if not text.text.strip():
        diagnostics.error("RB201", f"an empty {start}", text.scalar.span, help=f"write the {start} or remove the key")
        return None
    if start == "expression" and (trap := number_trap(text.text)):
        diagnostics.error("RB104", trap.message, text.span(0, len(text.text.rstrip())), help=trap.help)
        return None
    try:
        tree = _tree(text.text, start)
        if len(text.text) > MAX_DEPTH and _depth(tree) > MAX_DEPTH:  # no level without a character of its own
            diagnostics.error(
                "RB201",
                f"this {start} is too long or nested too deeply",
                text.span(0, 1),
                help="split it: write equations for its parts, and use their names here",
            )
            return None
        return _Builder(text, diagnostics, doc).build(tree)
    except UnexpectedInput as error:
        _report(text, start, error, diagnostics)
    except _Failed:
        pass
    return None


def _depth(tree: Tree) -> int:
    """How deep the abstract syntax of `tree` is; a chain such as a + b + c nests in its first operand."""
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        inner = [child for child in node.children if isinstance(child, Tree)]
        chain = len(inner) if node.data in _CHAINS else 1
        stack += [(child, depth + chain - min(max(place, 1), chain - 1)) for place, child in enumerate(inner)]
    return deepest


class _Builder:
    def __init__(self, text: _Text, diagnostics: Diagnostics, doc: str | None):
        self.text, self.diagnostics, self.doc = text, diagnostics, doc

    def span(self, first: Token, last: Token | None = None) -> Span:
        return self.text.span(first.start_pos or 0, (last or first).end_pos or 0)

    def fail(self, token: Token, message: str, help: str | None = None) -> NoReturn:
        self.diagnostics.error("RB201", message, self.span(token), help=help)
        raise _Failed

    def build(self, node: Any) -> Any:
        return getattr(self, f"build_{node.data}")(node)

    def build_equation(self, tree: Tree) -> Equation:
        target, unit, right = tree.children
        left, expression = self.target(target), self.build(right)
        return Equation(
            left,
            self.build_unit(unit) if unit is not None else None,
            self.span(*_ends(unit)) if unit is not None else None,
            expression,
            _join(left.span, expression.span),
            " ".join(line.partition("#")[0].strip() for line in self.text.text.splitlines()).strip(),
            self.doc,
        )

    def target(self, tree: Any) -> Target:
        name, prime, *inside = tree.children
        *indices, end = inside if inside[-1] is not None else [prime or name]
        return Target(
            str(name), prime is not None, tuple(map(str, indices)), tuple(map(self.span, indices)), self.span(name, end)
        )

    def build_number(self, tree: Any) -> Number:
        if trap := number_trap(str(tree.children[0])):
            self.diagnostics.error("RB104", trap.message, self.span(tree.children[0]), help=trap.help)
            raise _Failed
        return Number(self.number(tree.children[0]), self.span(tree.children[0]))

    def number(self, token: Token) -> Fraction:
        digits, size = float(re.split("[eE%]", token)[0]), float(token.rstrip("%"))
        if len(token) > MAX_DIGITS or (digits and not SMALLEST <= size <= LARGEST):
            self.fail(token, "a number too large or too small for a computer")
        return _fraction(token) if digits else Fraction(0)

    def build_true(self, tree: Any) -> Boolean:
        return Boolean(True, self.span(tree.children[0]))

    def build_false(self, tree: Any) -> Boolean:
        return Boolean(False, self.span(tree.children[0]))

    def build_group(self, tree: Any) -> Expression:
        opening, inner, closing = tree.children
        return replace(self.build(inner), span=self.span(opening, closing))

    def build_reference(self, tree: Any) -> Reference:
        first, second, prime, *inside = tree.children
        name = second or first
        *indices, end = inside if inside[-1] is not None else [prime or name]
        return Reference(
            str(name),
            str(first) if second is not None else None,
            prime is not None,
            tuple(map(self.build, indices)) or None,
            self.span(first, end),
            self.span(first, name),
        )

    def build_call(self, tree: Any) -> Call:
        name, *arguments, end = tree.children
        built = []
        for argument in arguments:
            if argument is not None:
                value, where = argument.children
                built.append(Argument(self.build(value), self.build(where) if where is not None else None))
        return Call(str(name), tuple(built), self.span(name, end), self.span(name))

    def build_conditional(self, tree: Tree) -> Conditional:
        then, condition, otherwise = map(self.build, tree.children)
        return Conditional(condition, then, otherwise, _join(then.span, otherwise.span))

    def build_negation(self, tree: Any) -> Unary:
        word, operand = tree.children
        inner = self.build(operand)
        return Unary("not", inner, _join(self.span(word), inner.span))

    def build_signed(self, tree: Any) -> Expression:
        sign, operand = tree.children
        inner = self.build(operand)
        return inner if sign == "+" else Unary("-", inner, _join(self.span(sign), inner.span))

    def build_disjunction(self, tree: Tree) -> Expression:
        return self.chain(["or"] * (len(tree.children) - 1), tree.children)

    def build_conjunction(self, tree: Tree) -> Expression:
        return self.chain(["and"] * (len(tree.children) - 1), tree.children)

    def build_sum(self, tree: Tree) -> Expression:
        return self.chain(tree.children[1::2], tree.children[::2])

    build_product = build_sum

    def build_power(self, tree: Tree) -> Expression:
        base, _, exponent = tree.children
        left, right = self.build(base), self.build(exponent)
        return Binary("^", left, right, _join(left.span, right.span))

    def build_comparison(self, tree: Tree) -> Expression:
        operands = [self.build(child) for child in tree.children[::2]]
        operators = tree.children[1::2]
        links: list[Expression] = [
            Comparison(str(op), a, b, _join(a.span, b.span))
            for op, a, b in zip(operators, operands, operands[1:], strict=False)
        ]
        result = links[0]
        for link in links[1:]:
            result = Binary("and", result, link, _join(result.span, link.span))
        return result

    def chain(self, operators: list, operands: list) -> Expression:
        result = self.build(operands[0])
        for operator, operand in zip(operators, operands[1:], strict=True):
            right = self.build(operand)
            result = Binary(str(operator), result, right, _join(result.span, right.span))
        return result

    def build_unit(self, tree: Any) -> Unit:
        result, sign = Unit(), 1
        for child in tree.children:
            if isinstance(child, Token):
                sign = 1 if child == "*" else -1
                continue
            base, _, minus, exponent = child.children
            power = self.number(exponent) if exponent is not None else Fraction(1)
            power *= -1 if minus == "-" else 1
            if base.type == "NUMBER":
                if str(base) != "1":
                    self.fail(base, f"'{base}' cannot stand in a unit", "scale the value instead; 1/hour is fine")
            else:
                result = result * Unit.base(str(base)) ** (power * sign)
            sign = 1
        return result


def _ends(tree: Any) -> tuple[Token, Token]:
    """The first and the last token of a unit."""
    tokens = list(tree.scan_values(lambda value: value is not None))
    return tokens[0], tokens[-1]


def _fraction(text: str) -> Fraction:
    return Fraction(text[:-1]) / 100 if text.endswith("%") else Fraction(text)


def _join(left: Span, right: Span) -> Span:
    return Span(left.source, left.start, max(left.end, right.end))


_CHAINS = ("disjunction", "conjunction", "comparison", "sum", "product")


def _report(text: _Text, start: str, error: UnexpectedInput, diagnostics: Diagnostics) -> None:
    if isinstance(error, UnexpectedCharacters):
        accepted = _accepts(text.text[: error.pos_in_stream], start)
        place, found = error.pos_in_stream, text.text[error.pos_in_stream]
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        accepted = error.accepts or set()
        place, found = error.token.start_pos or 0, str(error.token)
    else:
        accepted = set(getattr(error, "accepts", None) or getattr(error, "expected", None) or "")
        place, found = len(text.text.rstrip()), ""
    message, expected, help = explain(text.text, start, place, found, accepted)
    span = text.span(place, place + max(1, len(found))) if found else text.span(place - 1, place)
    diagnostics.error("RB201", message, span, expected=expected, help=help)


def _accepts(before: str, start: str) -> set[str]:
    """The names of the tokens that may follow `before`, which can be read itself."""
    reading = _parser().parse_interactive(before, start=start)
    with suppress(UnexpectedInput):
        reading.exhaust_lexer()
    return reading.accepts()
