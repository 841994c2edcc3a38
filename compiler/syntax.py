"""Text of the expression language to an abstract syntax tree with the place of every node."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NoReturn

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.source import Scalar
from rbcc.compiler.units import Unit


MAX_DEPTH = 100
MAX_OPERATORS = 300
MAX_DIGITS = 40


@dataclass(frozen=True)
class Number:
    value: Fraction
    span: Span


@dataclass(frozen=True)
class Boolean:
    value: bool
    span: Span


@dataclass(frozen=True)
class Reference:
    """`name`, `owner.name`, `name'`, `name[i, j]`; a bare index name is a reference too."""

    name: str
    owner: str | None
    primed: bool
    indices: tuple["Expression", ...] | None
    span: Span
    name_span: Span


@dataclass(frozen=True)
class Unary:
    operator: str  # "-" or "not"
    operand: "Expression"
    span: Span


@dataclass(frozen=True)
class Binary:
    operator: str  # + - * / ^ and or
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True)
class Comparison:
    operator: str
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True)
class Conditional:
    condition: "Expression"
    then: "Expression"
    otherwise: "Expression"
    span: Span


@dataclass(frozen=True)
class Argument:
    value: "Expression"
    where: "Expression | None"


@dataclass(frozen=True)
class Call:
    """A function or, if its first argument is an index, a reduction over it."""

    function: str
    arguments: tuple[Argument, ...]
    span: Span
    name_span: Span


Expression = Number | Boolean | Reference | Unary | Binary | Comparison | Conditional | Call


@dataclass(frozen=True)
class Target:
    name: str
    primed: bool
    indices: tuple[str, ...]
    index_spans: tuple[Span, ...]
    span: Span


@dataclass(frozen=True)
class Equation:
    target: Target
    unit: Unit | None
    unit_span: Span | None
    expression: Expression
    span: Span
    text: str
    doc: str | None


def children(node: object) -> Iterator[Expression]:
    """The expressions directly inside a node."""
    match node:
        case Reference(indices=tuple() as inner):
            yield from inner
        case Unary(operand=operand):
            yield operand
        case Binary() | Comparison():
            yield node.left
            yield node.right
        case Conditional():
            yield node.then
            yield node.condition
            yield node.otherwise
        case Call(arguments=arguments):
            for argument in arguments:
                yield argument.value
                if argument.where is not None:
                    yield argument.where


def references(node: Expression) -> Iterator[Reference]:
    """All references inside `node`, itself included."""
    if isinstance(node, Reference):
        yield node
    for child in children(node):
        yield from references(child)


class _Failed(Exception):
    """The text cannot be read; the diagnostic is recorded."""


def parse_expression(scalar: Scalar, diagnostics: Diagnostics) -> Expression | None:
    """The expression a scalar holds, or None with the reason in `diagnostics`."""
    node = _parse(_Text(scalar, 0, scalar.text), "expression", diagnostics)
    return node  # type: ignore[return-value]


def parse_equations(scalar: Scalar, diagnostics: Diagnostics) -> tuple[list[Equation], set[str]]:
    """The equations of one group, and the names that those which cannot be read were to define."""
    equations, broken = [], set()
    for start, text, doc in statements(scalar.text):
        node = _parse(_Text(scalar, start, text), "equation", diagnostics, doc)
        if isinstance(node, Equation):
            equations.append(node)
        elif name := re.match(r"[^\W\d]\w*'?", text):
            broken.add(name.group())
    return equations, broken


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
    """The tokens of `text`, comments left out, or None if it is no expression or equation."""
    if _too_deep(text):
        return None
    try:
        reading = _parser().parse_interactive(text, start=start)
        found = reading.exhaust_lexer()
        reading.feed_eof()
    except UnexpectedInput:
        return None
    return found


@cache
def _parser() -> Lark:
    grammar = files("rbcc.compiler").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=["expression", "equation", "unit"],
        maybe_placeholders=True,
        propagate_positions=True,
    )


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
    try:
        if _too_deep(text.text):
            diagnostics.error(
                "RB201",
                f"this {start} is too long or nested too deeply",
                text.span(0, 1),
                help="name its parts",
            )
            return None
        tree = _parser().parse(text.text, start=start)
        return _Builder(text, diagnostics, doc).build(tree)
    except UnexpectedInput as error:
        _report(text, start, error, diagnostics)
    except _Failed:
        pass
    return None


def _too_deep(text: str) -> bool:
    """Whether later stages, which walk the tree by recursion, could run out of stack."""
    deepest = depth = 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        deepest = max(deepest, depth)
    operators = sum(text.count(operator) for operator in "+-*/^<>=") + len(re.findall(r"\b(?:and|or|not|else)\b", text))
    return deepest > MAX_DEPTH or operators > MAX_OPERATORS


class _Builder:
    def __init__(self, text: _Text, diagnostics: Diagnostics, doc: str | None):
        self.text, self.diagnostics, self.doc = text, diagnostics, doc

    def span(self, node: Tree | Token) -> Span:
        if isinstance(node, Token):
            return self.text.span(node.start_pos or 0, node.end_pos or 0)
        return self.text.span(node.meta.start_pos, node.meta.end_pos)

    def fail(self, node: Tree | Token, message: str, help: str | None = None) -> NoReturn:
        self.diagnostics.error("RB201", message, self.span(node), help=help)
        raise _Failed

    def build(self, node: Tree | Token) -> Expression | Equation | Unit:
        if isinstance(node, Token):
            raise TypeError(f"stray token {node!r}")
        return getattr(self, f"build_{node.data}")(node)

    def expression(self, node: Tree | Token) -> Expression:
        return self.build(node)  # type: ignore[return-value]

    def build_equation(self, tree: Tree) -> Equation:
        target, unit, right = tree.children
        return Equation(
            self.target(target),
            self.build_unit(unit) if unit is not None else None,
            self.span(unit) if unit is not None else None,
            self.expression(right),
            self.span(tree),
            " ".join(line.partition("#")[0].strip() for line in self.text.text.splitlines()).strip(),
            self.doc,
        )

    def target(self, tree: Tree) -> Target:
        name, prime, *indices = tree.children
        indices = [index for index in indices if index is not None]
        return Target(
            str(name),
            prime is not None,
            tuple(map(str, indices)),
            tuple(map(self.span, indices)),
            self.span(tree),
        )

    def build_number(self, tree: Tree) -> Number:
        text = str(tree.children[0])
        if len(text) > MAX_DIGITS or abs(float(text.rstrip("%"))) > 1e38:
            self.fail(tree, "a number that a computer cannot hold")
        return Number(_fraction(text), self.span(tree))

    def build_true(self, tree: Tree) -> Boolean:
        return Boolean(True, self.span(tree))

    def build_false(self, tree: Tree) -> Boolean:
        return Boolean(False, self.span(tree))

    def build_group(self, tree: Tree) -> Expression:
        return self.expression(tree.children[0])

    def build_reference(self, tree: Any) -> Reference:
        first, second, prime, *indices = tree.children
        indices = tuple(self.expression(index) for index in indices if index is not None)
        end = second if second is not None else first
        name_span = self.text.span(first.start_pos, end.end_pos)
        return Reference(
            str(end),
            str(first) if second is not None else None,
            prime is not None,
            indices or None,
            self.span(tree),
            name_span,
        )

    def build_call(self, tree: Tree) -> Call:
        name, *arguments = tree.children
        built = []
        for argument in arguments:
            if argument is not None:
                value, where = argument.children
                built.append(Argument(self.expression(value), self.expression(where) if where is not None else None))
        return Call(str(name), tuple(built), self.span(tree), self.span(name))

    def build_conditional(self, tree: Tree) -> Conditional:
        then, condition, otherwise = map(self.expression, tree.children)
        return Conditional(condition, then, otherwise, self.span(tree))

    def build_negation(self, tree: Tree) -> Unary:
        return Unary("not", self.expression(tree.children[0]), self.span(tree))

    def build_signed(self, tree: Tree) -> Expression:
        sign, operand = tree.children
        inner = self.expression(operand)
        return inner if sign == "+" else Unary("-", inner, self.span(tree))

    def build_disjunction(self, tree: Tree) -> Expression:
        return self.chain(tree, ["or"] * (len(tree.children) - 1), tree.children)

    def build_conjunction(self, tree: Tree) -> Expression:
        return self.chain(tree, ["and"] * (len(tree.children) - 1), tree.children)

    def build_sum(self, tree: Tree) -> Expression:
        return self.chain(tree, tree.children[1::2], tree.children[::2])

    build_product = build_sum

    def build_power(self, tree: Tree) -> Expression:
        base, _, exponent = tree.children
        return Binary("^", self.expression(base), self.expression(exponent), self.span(tree))

    def build_comparison(self, tree: Tree) -> Expression:
        operands = [self.expression(child) for child in tree.children[::2]]
        operators = tree.children[1::2]
        links: list[Expression] = [
            Comparison(str(op), a, b, _join(a.span, b.span))
            for op, a, b in zip(operators, operands, operands[1:], strict=False)
        ]
        result = links[0]
        for link in links[1:]:
            result = Binary("and", result, link, self.span(tree))
        return result

    def chain(self, tree: Tree, operators: list, operands: list) -> Expression:
        result = self.expression(operands[0])
        for operator, operand in zip(operators, operands[1:], strict=True):
            right = self.expression(operand)
            result = Binary(str(operator), result, right, _join(result.span, right.span))
        return result

    def build_unit(self, tree: Any) -> Unit:
        result, sign = Unit(), 1
        for child in tree.children:
            if isinstance(child, Token):
                sign = 1 if child == "*" else -1
                continue
            base, _, minus, exponent = child.children
            power = _fraction(str(exponent)) if exponent is not None else Fraction(1)
            power *= -1 if minus == "-" else 1
            if base.type == "NUMBER":
                if str(base) != "1":
                    self.fail(base, f"'{base}' cannot stand in a unit", "scale the value instead; 1/hour is fine")
            else:
                result = result * Unit.base(str(base)) ** (power * sign)
            sign = 1
        return result


def _fraction(text: str) -> Fraction:
    return Fraction(text[:-1]) / 100 if text.endswith("%") else Fraction(text)


def _join(left: Span, right: Span) -> Span:
    return Span(left.source, left.start, max(left.end, right.end))


_TOKENS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "COMPARE": "a comparison",
    "SIGN": "+ or -",
    "SCALE": "* or /",
    "POWER": "^",
    "PRIME": "'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "EQUAL": "'='",
    "COLON": "':'",
    "DOT": "'.'",
    "IF": "'if'",
    "ELSE": "'else'",
    "AND": "'and'",
    "OR": "'or'",
    "NOT": "'not'",
    "WHERE": "'where'",
    "TRUE": "'true'",
    "FALSE": "'false'",
    "$END": "the end",
}
_OPERATORS = {"SIGN", "SCALE", "POWER", "COMPARE", "IF", "AND", "OR"}

# What people write -> what it is called here. Matched at the place where reading stopped.
HINTS: tuple[tuple[str, str], ...] = (
    (r"\*\*|(?<=\*)\*", "a power is written x^2"),
    (r"&&?", "write 'and'"),
    (r"\|\|?", "write 'or'"),
    (r"!(?!=)", "write 'not'"),
    (r"=(?!=)", "equality is tested with =="),
    (r"\?", "write 'a if condition else b'"),
    (r"\{", "use ( ) for grouping and [ ] for indices"),
    (r"@|:=|<-", "an equation is written name = expression"),
    (r"[“”‘’`´]", "use the plain ' for a next value"),
    (r"[−–—]", "use the plain minus sign -"),
    (r"[×·]", "write * for a product"),
    (r"for\b", "a sum is written sum(i, x[i])"),
)


def _report(text: _Text, start: str, error: UnexpectedInput, diagnostics: Diagnostics) -> None:
    accepted: set[str] = set()
    if isinstance(error, UnexpectedCharacters):
        accepted = set(error.allowed or ())
        place, found = error.pos_in_stream, text.text[error.pos_in_stream]
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        accepted = set(error.accepts or error.expected or ())
        place, found = error.token.start_pos or 0, str(error.token)
    else:
        accepted = set(getattr(error, "accepts", None) or getattr(error, "expected", None) or ())
        place, found = len(text.text.rstrip()), ""
    rest = text.text[place:]
    hint = next((hint for pattern, hint in HINTS if re.compile(pattern).match(text.text, place)), None)
    if hint is None and start == "equation" and "=" not in text.text:
        hint = "an equation is written name = expression, or name'[i] = expression for a next value"
    if hint is None and not found and text.text.count("(") > text.text.count(")"):
        hint = "a ')' is missing"
    if hint is None and found == ")" and text.text.count(")") > text.text.count("("):
        hint = "there is one ')' too many"
    if hint is None and re.search(r"\b(sum|product|mean|min|max)\s*\(\s*\w+\s+$", text.text[:place]):
        hint = "a comma is missing after the index"
    if hint is None and re.search(r"\bif\b.*\bthen\b", text.text):
        hint = "a choice is written a if condition else b; both branches are needed"
    if hint is None and "NAME" not in accepted and re.match(r"[\w(]", rest):
        hint = "is an operator missing? A product is written a * b"
    if hint is None and found in ("if", "else"):
        hint = "a choice is written a if condition else b; both branches are needed"
    diagnostics.error(
        "RB201",
        f"this {start} ends too early" if not found else f"'{found}' does not fit here",
        text.span(place, place + max(1, len(found))) if found else text.span(place - 1, place),
        expected=_accepted(accepted, text.text[:place]),
        help=hint,
    )


def _accepted(tokens: set[str], before: str) -> str | None:
    """What could have stood here, in words; closing tokens only where something is open."""
    words, rest = [], set(tokens)
    if rest >= {"NAME", "NUMBER", "LPAR"}:
        words.append("a value")
        rest -= {"NAME", "NUMBER", "LPAR", "NOT", "TRUE", "FALSE", "SIGN"}
    if rest >= _OPERATORS:
        words.append("an operator")
        rest -= {*_OPERATORS, "LPAR", "PRIME", "LSQB", "DOT"}
        if before.count("(") <= before.count(")"):
            rest -= {"RPAR", "WHERE"}
        if before.count("[") <= before.count("]"):
            rest -= {"RSQB"}
        if before.count("(") <= before.count(")") and before.count("[") <= before.count("]"):
            rest -= {"COMMA"}
        if not re.search(r"\bif\b", before):
            rest -= {"ELSE"}
    words += sorted(_TOKENS.get(token, token.lower()) for token in rest)
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0] if words else None
