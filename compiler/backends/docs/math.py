"""Expressions of the IR as LaTeX formulas."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from string import Formatter

from rbcc.compiler import ir
from rbcc.compiler.ir.constants import constant
from rbcc.compiler.ir.precedence import (
    ATOM,
    COMPARISON,
    CONDITIONAL,
    FRACTION,
    NOT,
    OF_OPERATOR,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
)
from rbcc.compiler.ir.types import Kind


WIDTH = 80  # letters in a line of formulas

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
    " Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varepsilon vartheta varphi"
).split()
GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", GREEK, strict=False))

CDOT = r"\cdot"
_RELATIONS = {"==": "=", "!=": r"\neq", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"}
_LOGIC = {"and": r"\wedge", "or": r"\vee"}
_REDUCTIONS = {
    "sum": r"\sum", "product": r"\prod", "min": r"\min", "max": r"\max", "mean": r"\operatorname*{mean}",
    "gini": r"\operatorname*{Gini}", "median": r"\operatorname*{median}", "quantile": r"\operatorname*{quantile}",
    "top_share": r"\operatorname*{top\ share}", "argmax": r"\operatorname*{arg\ max}", "argmin": r"\operatorname*{arg\ min}",
}  # fmt: skip
# So many numbers of a list are shown.
FEW = 6
_DRAWS = {"normal": r"\mathcal{N}(0, 1)", "uniform": r"\mathcal{U}(0, 1)", "bernoulli": r"\mathcal{B}"}
_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "&": r"\&", "%": r"\%",
    "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
}  # fmt: skip
_PLAIN = {escaped: character for character, escaped in _SPECIAL.items()}
_PLAIN |= {rf"\(\{name}\)": letter for letter, name in GREEK_LETTERS.items()}
_ESCAPED = re.compile(r"\\text[a-z]+\{\}|\\\(\\[A-Za-z]+\\\)|\\text(?:it|rm)\{|\\([^A-Za-z])|\}")
_KNOWN = "–—‘’“”…×÷±°§£©µ·¼½¾¿¡«»€"  # with what letters of Latin scripts LaTeX knows in UTF-8


def text(words: str) -> str:
    """Words as LaTeX text: nothing in them is a command, and characters that LaTeX may lack are named by number."""
    return "".join(map(_text_character, re.sub(r"\s+", " ", words)))


def _text_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if " " <= character <= "~" or character in _KNOWN or ("À" <= character <= "ſ" and character not in "ŉſĿŀĦħŦŧĸ"):
        return character
    if character in GREEK_LETTERS:
        return rf"\(\{GREEK_LETTERS[character]}\)"
    return f"[U+{ord(character):04X}]"


def plain(latex: str) -> str:
    """The words that `text` made LaTeX of."""
    found = _ESCAPED.sub(lambda match: _PLAIN.get(match.group()) or match.group(1) or "", latex)
    return re.sub(r"\[U\+([0-9A-F]{4,6})\]", lambda match: chr(int(match.group(1), 16)), found)


def name(words: str, script: Iterable[str] = (), above: str = "") -> str:
    """A name with subscripts and what stands above: `theta_scale` is a theta with subscript, `total_cost` a word."""
    first, *rest = re.sub(r"(?<=[^\W\d_])(\d+)$", r"_\1", words).split("_")
    if rest and (len(first) == 1 or first in GREEK):
        base, below = _word(first), [_word("_".join(rest)), *script]
    else:
        base, below = _word(words), [*script]
    raised = f"^{{{above}}}" if above and above != "'" else above
    return base + raised + (f"_{{{','.join(below)}}}" if below else "")


def _word(word: str) -> str:
    if word in GREEK:
        return f"\\{word}"
    if word in GREEK_LETTERS:
        return f"\\{GREEK_LETTERS[word]}"
    if word.isascii() and (len(word) == 1 or word.isdigit()):
        return word
    if word.isascii():
        return f"\\mathit{{{text(word)}}}"
    return f"\\text{{\\textit{{{text(word)}}}}}"


def roman(words: str) -> str:
    """The name of an agent type in a formula."""
    return f"\\mathrm{{{text(words)}}}" if words.isascii() else f"\\text{{{text(words)}}}"


class Typesetter:
    """Typesets expressions of one model; the owner of a name is shown where several types have the name."""

    def __init__(self, model: ir.Model):
        self.model = model
        self.primitives = {primitive.name: primitive for primitive in model.primitives}
        bare = [symbol.name.rpartition(".")[2] for symbol in model.symbols]
        self.shared = {short for short in bare if bare.count(short) > 1}

    def definition(self, definition: ir.Definition) -> tuple[str, list[str]]:
        """The left side of an equation, and the lines of its right side."""
        left = self.symbol(definition.symbol, definition.indices)
        return left, self.lines(definition.expression, room=max(WIDTH - width(left), WIDTH // 2))

    def equality(self, left: ir.Expression, right: ir.Expression) -> tuple[str, list[str]]:
        """The left side of an equality, and the lines of its right side."""
        shown = self.number(left)
        return shown, self.lines(right, room=max(WIDTH - width(shown), WIDTH // 2))

    def interval(self, unknown: ir.Unknown) -> str:
        """Between which ends an unknown is looked for."""
        low, high = self.number(unknown.low), self.number(unknown.high)
        return rf"{self.symbol(unknown.symbol, unknown.indices)} \in \left[{low}, {high}\right]"

    def lines(self, node: ir.Expression, *, room: int = WIDTH) -> list[str]:
        """A formula, broken at its outermost sums if it is wider than about `room` letters."""
        first, *others = self.terms(node)
        lines = [first if others else self.number(node)]
        for term in others:
            if width(lines[-1]) + width(term) <= room:
                lines[-1] += f" {term}"
            else:
                lines.append(term)
        return lines

    def terms(self, node: ir.Expression) -> list[str]:
        if isinstance(node, ir.Binary) and node.operator in ("+", "-"):
            return [*self.terms(node.left), f"{node.operator} {self.addend(node.right)}"]
        return [self.number(node, SUM)]

    def addend(self, node: ir.Expression, *, script: bool = False, last: bool = True) -> str:
        """What stands behind + or -: in brackets if it starts with a sign of its own."""
        found = self.number(node, PRODUCT, script=script, last=last)
        return rf"\left({found}\right)" if found.startswith("-") else found

    def number(self, node: ir.Expression, outer: int = 0, *, script: bool = False, last: bool = True) -> str:
        """A formula for a number: a condition counts as 1 where it holds."""
        if node.type.kind is Kind.FLAG and not isinstance(node, (ir.Reference, ir.Constant, ir.Conditional, ir.Draw)):
            return rf"\mathbf{{1}}\{{{self.formula(node)}\}}"
        return self.formula(node, outer, script=script, last=last)

    def formula(self, node: ir.Expression, outer: int = 0, *, script: bool = False, last: bool = True) -> str:
        """`node` in brackets if it holds together less tightly than `outer`.

        In a `script` fractions stand on one line. What follows a sum would be read as part of it, so the sum is put
        in brackets unless it is the `last` factor.
        """
        found, own = self.parts(node, script, last)
        return rf"\left({found}\right)" if own < outer else found

    def parts(self, node: ir.Expression, script: bool, last: bool) -> tuple[str, int]:
        match node:
            case ir.Constant(bool() as value):
                return rf"\mathrm{{{str(value).lower()}}}", ATOM
            case ir.Table(values, indices):
                shown = [self.number(constant(value)) for value in values[:FEW]]
                more = [r"\ldots"] if len(values) > FEW else []
                return rf"\left({', '.join([*shown, *more])}\right)_{{{', '.join(map(name, indices))}}}", ATOM
            case ir.Constant(name=str() as counted):
                return (r"\mathrm{horizon}" if counted == "horizon" else rf"\lvert {roman(counted)} \rvert"), ATOM
            case ir.Constant(Fraction() as value):
                return _number(value)
            case ir.IndexValue(index):
                return name(index), ATOM
            case ir.Reference(symbol, indices):
                found = self.symbol(symbol, indices)
                return found, FRACTION if "^" in found or "'" in found else ATOM
            case ir.Unary("not", operand):
                return rf"\neg {self.formula(operand, SUM, script=script)}", NOT
            case ir.Unary(_, operand):
                return f"-{self.number(operand, PRODUCT, script=script, last=last)}", SIGN
            case ir.Binary():
                return self.binary(node, script, last)
            case ir.Conditional():
                return self.cases(node), CONDITIONAL
            case ir.Apply(function, arguments):
                return self.apply(function, arguments, script)
            case ir.Reduce():
                return self.reduce(node), ATOM if last else SUM
            case ir.SegmentSum(index, segment, choice, body):
                below = rf"{name(index)} :\, {self.formula(choice, script=True)} = {name(segment)}"
                return rf"\sum_{{{below}}} {self.number(body, PRODUCT)}", ATOM if last else SUM
            case ir.Draw(distribution, arguments):
                inner = ", ".join(self.number(argument) for argument in arguments)
                return _DRAWS[distribution] + (f"({inner})" if inner else ""), ATOM
            case ir.Root():
                return self.parts(node.itself, script, last)
        raise TypeError(node)

    def index(self, index: str) -> str:
        return name(index)

    def symbol(self, symbol: str, indices: Iterable["str | ir.Expression"] = ()) -> str:
        owner, _, short = symbol.rpartition(".")
        bare = short.rstrip("'")
        below = [name(index) if isinstance(index, str) else self.formula(index, script=True) for index in indices]
        above = [roman(owner)] if owner and not owner.startswith("@") and short in self.shared else []
        if short.endswith("'"):
            above.append(r"\prime" if above else "'")
        return name(bare, below, "".join(above))

    def binary(self, node: ir.Binary, script: bool, last: bool) -> tuple[str, int]:
        operator, left, right = node.operator, node.left, node.right
        if operator in _LOGIC:
            level = OF_OPERATOR[operator]
            sides = self.formula(left, level, script=script), self.formula(right, level + 1, script=script)
            return f"{sides[0]} {_LOGIC[operator]} {sides[1]}", level
        if operator in _RELATIONS:
            sides = self.number(left, SUM, script=script), self.number(right, SUM, script=script)
            return f"{sides[0]} {_RELATIONS[operator]} {sides[1]}", COMPARISON
        if operator in ("+", "-"):
            sides = self.number(left, SUM, script=script), self.addend(right, script=script, last=last)
            return f"{sides[0]} {operator} {sides[1]}", SUM
        if operator == "^":
            base, exponent = self.number(left, ATOM, last=False), self.number(right, script=True)
            return f"{base}^{{{exponent}}}", POWER
        if operator == "/" and not script:
            return rf"\frac{{{self.number(left)}}}{{{self.number(right)}}}", FRACTION
        sides = (
            self.number(left, SIGN, script=script, last=False),
            self.number(right, FRACTION if operator == "/" else PRODUCT, script=script, last=last),
        )
        return f" {'/' if operator == '/' else CDOT} ".join(sides), PRODUCT

    def cases(self, node: ir.Conditional) -> str:
        rows: list[str] = []
        rest: ir.Expression = node
        while isinstance(rest, ir.Conditional):
            rows.append(rf"{self.number(rest.then)} & \text{{if }} {self.formula(rest.condition)}")
            rest = rest.otherwise
        rows.append(rf"{self.number(rest)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def reduce(self, node: ir.Reduce) -> str:
        over = ",".join(map(name, node.indices))
        condition = self.formula(node.condition, script=True) if node.condition is not None else None
        if node.operator == "count":
            sizes = [rf"\lvert {roman(self.model.set_of(index))} \rvert" for index in node.indices]
            return f" {CDOT} ".join(sizes) if condition is None else rf"\#\{{{over} \mid {condition}\}}"
        below = over if condition is None else rf"{over} :\, {condition}"
        if node.level is not None:
            return rf"{_REDUCTIONS[node.operator]}_{{{below}}}({self.number(node.body)}, {self.number(node.level)})"
        return rf"{_REDUCTIONS[node.operator]}_{{{below}}} {self.number(node.body, PRODUCT)}"

    def apply(self, function: str, arguments: tuple[ir.Expression, ...], script: bool) -> tuple[str, int]:
        primitive = self.primitives[function]
        if primitive.latex is None:
            inner = ", ".join(self.number(argument, script=script) for argument in arguments)
            return rf"\operatorname{{{text(function)}}}({inner})", ATOM
        given = {key: [argument] for key, argument in zip(primitive.arguments, arguments, strict=False)}
        if primitive.variadic:
            given[primitive.arguments[-1]] = list(arguments[len(primitive.arguments) - 1 :])

        def fill(field: str, outer: int, inside_script: bool) -> str:
            alone = len(given[field]) == 1
            parts = (
                self.number(value, outer if alone else 0, script=script or inside_script, last=outer <= SUM)
                for value in given[field]
            )
            return ", ".join(parts)

        return _filled(primitive.latex, fill), _precedence(primitive.latex)


def example(primitive: ir.PrimitiveSource) -> str:
    """The formula of a primitive, with the names of its arguments in it."""
    if primitive.latex is None:
        return rf"\operatorname{{{text(primitive.name)}}}({', '.join(map(name, primitive.arguments))})"
    return _filled(primitive.latex, lambda field, outer, script: name(field))


def aligned(rows: Iterable[tuple[str, str, Sequence[str]]], environment: str = "aligned") -> Iterator[str]:
    """The lines of an environment that shows equations (left, relation, lines of the right side) under each other."""
    yield rf"\begin{{{environment}}}"
    lines = [
        rf"{left} &{relation} {line}" if number == 0 else rf"&\quad {{}} {line}"
        for left, relation, right in rows
        for number, line in enumerate(right)
    ]
    yield " \\\\\n".join(lines)
    yield rf"\end{{{environment}}}"


# --- templates of primitives ---------------------------------------------------------------------------------------

_OPENS = re.compile(r"(?:^|[({\[,]|\\(?:lvert|lfloor|lceil|left\W))$")
_CLOSES = re.compile(r"$|[)}\],]|\\(?:rvert|rfloor|rceil|right\b)")


def _pieces(latex: str) -> list[str]:
    """A template as text, field, text, field, ..., text."""
    pieces = [""]
    for literal, field, _, _ in Formatter().parse(latex):
        pieces[-1] += literal
        pieces += [field, ""] if field is not None else []
    return pieces


def _filled(latex: str, fill: Callable[[str, int, bool], str]) -> str:
    """A template with its fields filled in; `fill` is told how tightly a field is held, and whether it is a script."""
    pieces = _pieces(latex)
    result, scripts = pieces[0], _scripts(pieces[0], [])
    for before, field, behind in zip(pieces[::2], pieces[1::2], pieces[2::2], strict=False):
        # Two fields with nothing but space between them are factors.
        held = _held(before.strip() or ("x" if result else ""), behind.strip() or ("" if behind is pieces[-1] else "x"))
        result += fill(field, held, any(scripts)) + behind
        scripts = _scripts(behind, scripts)
    return result


def _scripts(text: str, outer: list[bool]) -> list[bool]:
    """The braces that are open behind `text`, if `outer` were before it: whether each is that of a script."""
    found = list(outer)
    for position, character in enumerate(text):
        if character == "{":
            found.append(text[:position].rstrip().endswith(("^", "_")))
        elif character == "}" and found:
            found.pop()
    return found


def _held(before: str, behind: str) -> int:
    """How tightly an argument must hold together between two pieces of a template."""
    if behind.startswith(("^", "_")):
        return ATOM
    opens, closes = _OPENS.search(before) is not None, _CLOSES.match(behind) is not None
    if opens and closes:
        return 0
    if closes or behind.startswith(("+", "-")):
        if opens:
            return SUM
        if before.endswith(("+", "-")):
            return PRODUCT
    return FRACTION


@cache
def _precedence(latex: str) -> int:
    """How tightly a template itself holds together."""
    rest = "\0".join(_pieces(latex)[::2])
    rest = re.sub(r"\\(?:lvert|lfloor|lceil|left\W)", "(", rest)
    rest = re.sub(r"\\(?:rvert|rfloor|rceil|right\W)", ")", rest)
    shorter = None
    while shorter != rest:
        shorter, rest = rest, re.sub(r"\{[^{}]*\}|\([^()]*\)|\[[^\[\]]*\]", "\1", rest)
    raised = "^" in rest
    rest = re.sub(r"[\^_]\s*(?:\\[A-Za-z]+|.)", "", rest)
    if re.search(r"[-+]", rest):
        return SUM
    factors = len(re.findall(r"\0|\\[A-Za-z]+\*?|\d[\d.]*|[A-Za-z]", rest))
    if factors > 1 or "/" in rest:
        return PRODUCT
    return POWER if raised else FRACTION if rest.startswith(r"\frac") else ATOM


# --- small things --------------------------------------------------------------------------------------------------


def _number(value: Fraction) -> tuple[str, int]:
    if value.denominator == 1 and abs(value) < 10**9:
        return str(value.numerator), ATOM if value >= 0 else SIGN
    decimal = repr(float(value))
    if "e" in decimal:
        digits, _, exponent = decimal.partition("e")
        return rf"{digits.removesuffix('.0')} \cdot 10^{{{int(exponent)}}}", PRODUCT if value >= 0 else SIGN
    if Fraction(decimal) == value:
        return decimal.removesuffix(".0"), ATOM if value >= 0 else SIGN
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", FRACTION if value >= 0 else SIGN


def width(latex: str) -> int:
    """About how many letters wide a formula is."""
    plain = re.sub(
        r"\\(?:mathit|mathrm|mathbf|mathcal|text|textit|left|right|operatorname\*?|frac|begin|end)\b", "", latex
    )
    plain = re.sub(r"\\[A-Za-z]+", "x", plain)
    return len(re.sub(r"[\\{}_^\s]", "", plain))
