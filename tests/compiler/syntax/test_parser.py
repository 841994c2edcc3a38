import pytest
from hypothesis import given, strategies as st

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.source import Scalar


def scalar(text: str) -> Scalar:
    return Scalar(text, text, Span(Source("spec", text), 0, len(text)))


def shape(node: object) -> str:
    """A fully bracketed form of a tree."""
    match node:
        case syntax.Number(value):
            return str(value)
        case syntax.Boolean(value):
            return str(value)
        case syntax.Reference(name, owner, primed, indices):
            inner = f"[{','.join(map(shape, indices))}]" if indices else ""
            return (f"{owner}." if owner else "") + name + ("'" if primed else "") + inner
        case syntax.Unary(operator, operand):
            return f"({operator} {shape(operand)})"
        case syntax.Binary(operator, left, right) | syntax.Comparison(operator, left, right):
            return f"({shape(left)} {operator} {shape(right)})"
        case syntax.Conditional(condition, then, otherwise):
            return f"({shape(then)} if {shape(condition)} else {shape(otherwise)})"
        case syntax.Call(function, arguments):
            inner = ",".join(shape(a.value) + (f" where {shape(a.where)}" if a.where else "") for a in arguments)
            return f"{function}({inner})"
    raise TypeError(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c", "((a / b) * c)"),
        ("-x^2", "(- (x ^ 2))"),
        ("x^-y^2", "(x ^ (- (y ^ 2)))"),
        ("2^3^2", "(2 ^ (3 ^ 2))"),
        ("not a and b or c", "(((not a) and b) or c)"),
        ("not a == b", "(not (a == b))"),
        ("0 <= x < 1", "((0 <= x) and (x < 1))"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("price'[j]", "price'[j]"),
        ("firm.price[employer[i]]", "firm.price[employer[i]]"),
        ("sum(i where e[i] == j, h[i])", "sum(i where (e[i] == j),h[i])"),
        ("beta*c + lambda_ * N - I", "(((beta * c) + (lambda_ * N)) - I)"),
        ("η + σ_2", "(η + σ_2)"),
        ("1e-3 + .5 + 2. + 5%", "(((1/1000 + 1/2) + 2) + 1/20)"),
        ("f()", "f()"),
        ("(a)", "a"),
        ("iffy + ordinary + nothing", "((iffy + ordinary) + nothing)"),
        ("true and false", "(True and False)"),
        ("a + # comment\n b", "(a + b)"),
    ],
)
def test_trees(text: str, expected: str) -> None:
    diagnostics = Diagnostics()
    node = syntax.parse_expression(scalar(text), diagnostics)
    assert not diagnostics.found
    assert shape(node) == expected


# What people bring from other languages, and the hint they get.
MISTAKES = [
    ("x ** 2", "a power is written x^2"),
    ("a && b", "write 'and'"),
    ("a || b", "write 'or'"),
    ("!a", "write 'not'"),
    ("a = b", "equality is tested with =="),
    ("a ? b : c", "write a if condition else b"),
    ("{a}", "use ( ) for grouping and [ ] for indices"),
    ("x’[i]", "use the plain ' for a next value"),
    ("a − b", "use the plain minus sign -"),
    ("a × b", "write * for a product"),
    ("(a + b", "a ')' is missing"),
    ("a + b)", "there is one ')' too many"),
    ("2 x", "is an operator missing? A product is written 2 * b; a unit has a key of its own: {value: 2, unit: money}"),
    ("a b", "is an operator missing? A product is written a * b"),
    ("x[i][j]", "indices stand in one pair of brackets: x[i,j]"),
    ("a ≤ b", "write <=, >= or !="),
    ("a;", "an equation ends with its line; remove the ';'"),
    ("1 if a", "say what holds otherwise: a if condition else 0"),
    ("“a”", 'these are not the quotes of a keyboard: write "...", or no quotes'),
    ("sum(i x[i])", "a comma is missing after the index"),
    ("sum(x[i] for i in firms)", "a sum is written sum(i, x[i])"),
]


@pytest.mark.parametrize(("text", "hint"), MISTAKES)
def test_hints(text: str, hint: str) -> None:
    diagnostics = Diagnostics()
    assert syntax.parse_expression(scalar(text), diagnostics) is None
    (found,) = diagnostics.errors
    assert (found.code, found.help) == ("RB201", hint)


def test_equations_continue_when_indented_or_bracketed() -> None:
    text = "a[i]: money/good = b[i]   # what a is\n  + c[i]\n\nx'[i,j] = (1 +\n2)\ny = 3"
    equations, broken = syntax.parse_equations(scalar(text), Diagnostics())
    found = [(e.target.name, e.target.primed, e.target.indices, str(e.unit or ""), e.doc) for e in equations]
    assert found == [
        ("a", False, ("i",), "money/good", "what a is"),
        ("x", True, ("i", "j"), "", None),
        ("y", False, (), "", None),
    ]
    assert not broken


def test_one_bad_equation_does_not_hide_the_others() -> None:
    diagnostics = Diagnostics()
    equations, broken = syntax.parse_equations(scalar("a = 1 +\nb = 2\nc' = ]\n3 = d"), diagnostics)
    assert [e.target.name for e in equations] == ["b"]
    assert broken == {"a", "c", ""}
    assert len(diagnostics.errors) == 3


@pytest.mark.parametrize(
    "text",
    ["(" * 500 + "a" + ")" * 500, "+".join("a" * 1000), "-" * 2000 + "a", "not " * 2000 + "a", "1e999", "9" * 500],
)
def test_monsters_are_refused(text: str) -> None:
    diagnostics = Diagnostics()
    assert syntax.parse_expression(scalar(text), diagnostics) is None
    assert diagnostics.failed


@given(st.text(alphabet="abij01.+-*/^()[]'=<>!,%& \n#", max_size=40))
def test_any_text_gives_a_tree_or_a_message(text: str) -> None:
    for parse in (syntax.parse_expression, syntax.parse_unit):
        diagnostics = Diagnostics()
        assert (parse(scalar(text), diagnostics) is None) == diagnostics.failed
    diagnostics = Diagnostics()
    syntax.parse_equations(scalar(text), diagnostics)
