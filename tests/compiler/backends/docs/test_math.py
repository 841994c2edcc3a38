"""Formulas: known answers in LaTeX and MathML, and the meaning that brackets keep."""

import math
import re
import xml.dom.minidom
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st
from pylatexenc.latexwalker import LatexWalker

from rbcc.compiler import ir
from rbcc.compiler.backends.docs.math import Typesetter, name, plain, text
from rbcc.compiler.backends.docs.mathml import mathml
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.constants import constant
from rbcc.compiler.ir.types import Type
from rbcc.compiler.primitives import PrimitiveError, primitive
from rbcc.compiler.source import shipped_models


MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))

SPEC = """
rbcc: 1
model: m
horizon: 4
discount: 0.9
use: [mine.py]
parameters: {alpha: 0.3, theta_scale: 2, total_cost: 5, x1: 1, N: 3, small: 1e-7, third: 1/3, β: 1}
agents:
  buyer:
    index: [i, k]
    count: 5
    state: {cash: {start: 3}, up: {start: false}}
    actions:
      pick: {choose: shop}
      q: {choices: [0, 1], over: shop}
    observes: [cash, up]
    reward: cash'[i]
  shop:
    index: j
    count: 2
    state: {cash: {start: 1}}
    actions: {p: {choices: [1, 2]}}
    observes: [cash]
    reward: cash'[j]
equations:
  all: |
    EQUATION
    cash'[i] = buyer.cash[i] + alpha + theta_scale + total_cost + x1 + N + small + third + β
    cash'[j] = shop.cash[j] + p[j] + sum(i, q[i,j]) + sum(i where pick[i] == j, 1)
    up'[i]   = buyer.cash[i] > 1 and not up[i]
"""

MINE = '''
from rbcc import primitive


@primitive(units="a, a -> a", latex="{a} + {b}")
def plus(a, b):
    """A sum."""
    return a + b


@primitive(units="a, a -> 1")
def bare(a, b):
    """Without a formula."""
    return a / b


@primitive(units="a, a... -> a", latex=r"\\langle {a} \\mid {rest} \\rangle^{{{a} / 2}}")
def many(a, *rest):
    """Several."""
    return a
'''


@pytest.mark.parametrize(
    ("right", "latex"),
    [
        ("alpha * total_cost", r"\alpha \cdot \mathit{total\_cost}"),
        ("theta_scale + x1 - N", r"\theta_{\mathit{scale}} + x_{1} - N"),
        ("alpha / N", r"\frac{\alpha}{N}"),
        ("(alpha + N)^(1/4)", r"\left(\alpha + N\right)^{1 / 4}"),
        ("(alpha^N)^2", r"\left(\alpha^{N}\right)^{2}"),
        ("(alpha / N)^2", r"\left(\frac{\alpha}{N}\right)^{2}"),
        ("-alpha^2", r"-\alpha^{2}"),
        ("alpha - (N - x1)", r"\alpha - \left(N - x_{1}\right)"),
        ("alpha - -N", r"\alpha - \left(-N\right)"),
        ("alpha * (N + x1)", r"\alpha \cdot \left(N + x_{1}\right)"),
        ("1e-7 * 0.25 + 1.5e20", r"1 \cdot 10^{-7} \cdot 0.25 + 1.5 \cdot 10^{20}"),
        ("β", r"\beta"),
        ("exp(-alpha) + abs(N)", r"\exp(-\alpha) + \lvert N \rvert"),
        ("sqrt(alpha + N)", r"\sqrt{\alpha + N}"),
        ("max(alpha, N, x1)", r"\max(\alpha, N, x_{1})"),
        ("cobb_douglas(alpha + 1, N, x1 - 1)", r"\left(\alpha + 1\right)^{1-\left(x_{1} - 1\right)} N^{x_{1} - 1}"),
        ("2 * crra(alpha, N)", r"2 \cdot \frac{\alpha^{1-N} - 1}{1 - N}"),
        ("ration(alpha + N, N)", r"\min(1, \left(\alpha + N\right) / N)"),
        ("N * plus(alpha, -N)", r"N \cdot \left(\alpha + \left(-N\right)\right)"),
        ("bare(alpha, N + 1)", r"\operatorname{bare}(\alpha, N + 1)"),
        ("many(alpha, N, x1)", r"\langle \alpha \mid N, x_{1} \rangle^{\alpha / 2}"),
        ("alpha if N > 1 else 0", r"\begin{cases} \alpha & \text{if } N > 1 \\ 0 & \text{otherwise} \end{cases}"),
        (
            "1 if N > 1 else 2 if N == 1 else 3",
            r"\begin{cases} 1 & \text{if } N > 1 \\ 2 & \text{if } N = 1 \\ 3 & \text{otherwise} \end{cases}",
        ),
        ("2 * (N >= 1)", r"2 \cdot \mathbf{1}\{N \ge 1\}"),
        ("horizon + count(shop) + time", r"\mathrm{horizon} + \lvert \mathrm{shop} \rvert + \mathit{time}"),
        ("alpha * normal()", r"\alpha \cdot \mathcal{N}(0, 1)"),
        (
            "1 if bernoulli(alpha) else 0",
            r"\begin{cases} 1 & \text{if } \mathcal{B}(\alpha) \\ 0 & \text{otherwise} \end{cases}",
        ),
        ("sum(i, buyer.cash[i])", r"\sum_{i} \mathit{cash}^{\mathrm{buyer}}_{i}"),
        (
            "sum(i, buyer.cash[i] + 1) * N",
            r"\left(\sum_{i} \left(\mathit{cash}^{\mathrm{buyer}}_{i} + 1\right)\right) \cdot N",
        ),
        ("N * sum(i, buyer.cash'[i]^2)", r"N \cdot \sum_{i} \left(\mathit{cash}^{\mathrm{buyer}\prime}_{i}\right)^{2}"),
        ("mean(j, p[j])", r"\operatorname*{mean}_{j} p_{j}"),
        ("N * gini(j, p[j] + 1)", r"N \cdot \operatorname*{Gini}_{j} \left(p_{j} + 1\right)"),
        ("quantile(j, p[j] + 1, 0.9)^2", r"\left(\operatorname*{quantile}_{j}(p_{j} + 1, 0.9)\right)^{2}"),
        (
            "top_share(j, p[j], 10%) - median(j, p[j])",
            r"\operatorname*{top\ share}_{j}(p_{j}, 0.1) - \operatorname*{median}_{j} p_{j}",
        ),
        ("p[argmax(j, p[j])]", r"p_{\operatorname*{arg\ max}_{j} p_{j}}"),
        ("max(j, p[j]) - min(j, p[j])", r"\max_{j} p_{j} - \min_{j} p_{j}"),
        ("product(j, p[j])", r"\prod_{j} p_{j}"),
        ("count(i where pick[i] == pick[i])", r"\#\{i \mid \mathit{pick}_{i} = \mathit{pick}_{i}\}"),
        ("sum(i, p[pick[i]])", r"\sum_{i} p_{\mathit{pick}_{i}}"),
        ("sum(i, k where up[i] and not up[k], 1)", r"\sum_{i,k :\, \mathit{up}_{i} \wedge \neg \mathit{up}_{k}} 1"),
        ("sum(i, i / count(buyer))", r"\sum_{i} \frac{i}{\lvert \mathrm{buyer} \rvert}"),
    ],
)
def test_known_answers(write_spec, tmp_path, right: str, latex: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    model = compile_spec(write_spec(SPEC.replace("EQUATION", f"v = {right}"))).model
    left, lines = Typesetter(model).definition(next(d for d in model.equations if d.symbol == "v"))
    assert (left, " ".join(lines)) == ("v", latex)


def test_primes_and_flags(write_spec, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    model = compile_spec(write_spec(SPEC.replace("EQUATION", "v = 1"))).model
    shown = {d.symbol: Typesetter(model).definition(d) for d in model.equations}
    assert shown["buyer.up'"] == (
        r"\mathit{up}'_{i}",
        [r"\mathbf{1}\{\mathit{cash}^{\mathrm{buyer}}_{i} > 1 \wedge \neg \mathit{up}_{i}\}"],
    )
    assert shown["shop.cash'"][0] == r"\mathit{cash}^{\mathrm{shop}\prime}_{j}"


def test_long_sums_are_broken() -> None:
    model = compile_spec("closed_rbc").model
    identity = next(i for i in model.balances if i.name == "money")
    lines = Typesetter(model).lines(identity.right)
    assert len(lines) > 1
    assert all(line.startswith(("+ ", "- ")) for line in lines[1:])


@pytest.mark.parametrize(
    ("word", "latex"),
    [
        ("x", "x"), ("alpha", r"\alpha"), ("beta2", r"\beta_{2}"), ("price", r"\mathit{price}"), ("_x", r"\mathit{\_x}"),
        ("x_t", "x_{t}"), ("Gamma", r"\Gamma"), ("σ", r"\sigma"), ("prix_été", r"\text{\textit{prix\_été}}"),
        ("名", r"\text{\textit{[U+540D]}}"), ("alpha_max_1", r"\alpha_{\mathit{max\_1}}"), ("psi", r"\psi"),
    ],
)  # fmt: skip
def test_names(word: str, latex: str) -> None:
    assert name(word) == latex


@given(st.text(max_size=30))
def test_text_has_no_commands(words: str) -> None:
    escaped = text(words)
    nodes, _, _ = LatexWalker(escaped, tolerant_parsing=False).get_latex_nodes()
    allowed = {
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "textless",
        "textgreater",
        "textbar",
        "textquotedbl",
    }
    allowed |= {"textasciigrave", "textquotesingle", "&", "%", "$", "#", "_", "{", "}"}
    assert {node.macroname for node in nodes if hasattr(node, "macroname")} <= allowed
    assert plain(escaped) == re.sub(r"\[U\+([0-9A-F]{4,6})\]", lambda m: chr(int(m[1], 16)), re.sub(r"\s+", " ", words))


# --- brackets ------------------------------------------------------------------------------------------------------

VALUES = {"choke_price": 1.7, "slope": 2.3, "cost": 0.6}
_NUMBER = Type()


def _tree(children: st.SearchStrategy[ir.Expression]) -> st.SearchStrategy[ir.Expression]:
    exponents = st.integers(-2, 3).map(constant)
    return st.one_of(
        st.builds(lambda op, a, b: ir.Binary(op, a, b, _NUMBER), st.sampled_from("+-*/"), children, children),
        st.builds(lambda a, b: ir.Binary("^", a, b, _NUMBER), children, exponents),
        st.builds(lambda a: ir.Unary("-", a, _NUMBER), children),
        st.builds(lambda a, b: ir.Apply("power_sum", (a, b), _NUMBER), children, children),
    )


TREES = st.recursive(
    st.sampled_from([ir.Reference(symbol, (), _NUMBER) for symbol in VALUES]) | st.integers(1, 9).map(constant),
    _tree,
    max_leaves=8,
)
POWER_SUM = ir.PrimitiveSource(
    "power_sum", ("a", "b"), "", None, False, r"{a}^{{2}} {b} - {a} + \frac{{{b}}}{{{a} + 1}}", ""
)
TYPESETTER = Typesetter(replace(compile_spec("cournot").model, primitives=(POWER_SUM,)))


def value(node: ir.Expression) -> float:
    match node:
        case ir.Constant(number):
            return float(number)
        case ir.Reference(symbol):
            return VALUES[symbol]
        case ir.Unary(_, operand):
            return -value(operand)
        case ir.Binary(operator, left, right):
            a, b = value(left), value(right)
            return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b, "^": lambda: a**b}[
                operator
            ]()
        case ir.Apply(_, (first, second)):
            a, b = value(first), value(second)
            return a**2 * b - a + b / (a + 1)
    raise TypeError(node)


def read(latex: str) -> float:
    """The value of a formula as a mathematician reads it."""
    code = re.sub(r"\\mathit\{([^{}]*)\}", lambda m: f"({VALUES[m[1].replace(chr(92), '')]})", latex)
    code = code.replace(r"\left(", "(").replace(r"\right)", ")").replace(r"\cdot", "*")
    code = re.sub(r"\\frac\{", "#{", code)
    while "#" in code:
        start = code.rindex("#")
        parts, depth, place = [], 0, start + 1
        for position in range(start + 1, len(code)):
            depth += (code[position] == "{") - (code[position] == "}")
            if depth == 0:
                parts.append(code[place + 1 : position])
                place = position + 1
                if len(parts) == 2:
                    break
        code = f"{code[:start]}(({parts[0]})/({parts[1]})){code[place:]}"
    code = code.replace("^", "**").replace("{", "(").replace("}", ")")
    return eval(re.sub(r"(?<=[)\d])\s+(?=[(\d])", " * ", code))


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_formulas_mean_what_they_show(tree: ir.Expression) -> None:
    try:
        expected = value(tree)
    except (ZeroDivisionError, OverflowError):
        return
    latex = " ".join(TYPESETTER.lines(tree))
    found = read(latex)
    assert isinstance(found, complex) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9), latex
    xml.dom.minidom.parseString(mathml(latex))


# --- MathML --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "inside"),
    [
        (r"\alpha_{i}", "<msub><mi>α</mi><mrow><mi>i</mi></mrow></msub>"),
        (r"\mathit{total\_cost}", '<mi class="word">total_cost</mi>'),
        (r"x'_{i}", "<msubsup><mi>x</mi><mrow><mi>i</mi></mrow><mrow><mo>′</mo></mrow></msubsup>"),
        (r"\frac{a}{b}", "<mfrac><mi>a</mi><mi>b</mi></mfrac>"),
        (
            r"\sum_{i} x",
            '<mrow><munder><mo movablelimits="true">∑</mo><mrow><mi>i</mi></mrow></munder><mi>x</mi></mrow>',
        ),
        (r"\text{a \& b \textless{}c> }", "<mtext>a&nbsp;&amp;&nbsp;b&nbsp;&lt;c&gt;&nbsp;</mtext>"),
        (r"\sqrt{2.5}", "<msqrt><mn>2.5</mn></msqrt>"),
        (r"\mathcal{N}", "<mi>𝒩</mi>"),
        (r"\unknown", "<mtext>\\unknown</mtext>"),
    ],
)
def test_mathml(latex: str, inside: str) -> None:
    assert mathml(latex) == f"<math>{inside}</math>"


@given(
    st.lists(
        st.sampled_from([*"{}_^'&x1+-()\\", r"\frac", r"\left", r"\right", r"\begin{cases}", r"\text{", r"\\"]),
        max_size=12,
    )
)
def test_mathml_is_well_formed_whatever_it_reads(pieces: list[str]) -> None:
    xml.dom.minidom.parseString(mathml(" ".join(pieces)).replace("&nbsp;", " "))


@pytest.mark.parametrize("model", MODELS)
def test_every_formula_of_the_models(model: str) -> None:
    compiled = compile_spec(model).model
    typesetter = Typesetter(compiled)
    for definition in (*compiled.parameters, *compiled.starts, *compiled.equations):
        left, lines = typesetter.definition(definition)
        for latex in (left, *lines):
            LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()
            assert latex.count(r"\left") == latex.count(r"\right")
            shown = mathml(latex)
            xml.dom.minidom.parseString(shown.replace("&nbsp;", " "))
            assert "<mtext>\\" not in shown


# --- templates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "words"),
    [
        ("{y}", "its arguments are x"),
        ("{x.real}", "its arguments are x"),
        ("{x:>20}", "its arguments are x"),
        ("{x!r}", "its arguments are x"),
        ("{", "braces that are LaTeX's own are doubled"),
        (r"\frac{{{x}", "must be one line with as many } as {"),
        ("{x}\n```", "must be one line"),
    ],
)
def test_templates_that_cannot_be_used(latex: str, words: str) -> None:
    with pytest.raises(PrimitiveError, match=re.escape(words)):

        @primitive(units="a -> a", latex=latex)
        def mine(x):
            return x
