"""What people read of names, keys and functions: Markdown."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from rbcc.compiler import diagnostics, ir
from rbcc.compiler.diagnostics import CODES, Span
from rbcc.compiler.ir.types import Kind
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.primitives import Primitive
from rbcc.compiler.schema.introspection import Key, alternatives, is_table, keys_at
from rbcc.compiler.schema.spec import Equations, Expression, Name
from rbcc.compiler.semantics.expressions import Names
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.compiler.source import KeyPath
from rbcc.editor.workspace import Analysis, short


LONGEST_DEFINITION = 12

# Functions that are not primitives: how they are written, what they give.
BUILT_IN = {
    "sum": ("sum(i, x[i])", "The sum over all agents; over some with `sum(i where condition, x[i])`."),
    "product": ("product(i, x[i])", "The product over all agents, or over some: `product(i where condition, x[i])`."),
    "mean": ("mean(i, x[i])", "The mean over all agents."),
    "min": ("min(i, x[i])", "The smallest value over all agents; `min(x, y)` of two or more values."),
    "max": ("max(i, x[i])", "The largest value over all agents; `max(x, y)` of two or more values."),
    "gini": ("gini(i, x[i])", "The Gini coefficient, from 0 (all have the same) to 1 - 1/n (one has everything)."),
    "median": ("median(i, x[i])", "The median over all agents, `quantile(i, x[i], 0.5)`."),
    "quantile": (
        "quantile(i, x[i], 0.9)",
        "The value below which a share of the agents lies, linear between neighbours in order.",
    ),
    "top_share": ("top_share(i, x[i], 0.1)", "The share of the total that the top 10 % of the agents have."),
    "argmax": ("argmax(i, x[i])", "The agent with the largest value, the first of several: look up with it, `y[...]`."),
    "argmin": ("argmin(i, x[i])", "The agent with the smallest value, the first of several."),
    "count": ("count(i where condition)", "How many agents fulfil a condition; `count(type)`: how many there are."),
    "normal": ("normal()", "A draw from the standard normal distribution, a new one for every agent and step."),
    "uniform": ("uniform()", "A draw between 0 and 1, a new one for every agent and step."),
    "bernoulli": ("bernoulli(p)", "A flag that is true with probability p, a new one for every agent and step."),
    "lognormal": ("lognormal(mu, sigma)", "A draw whose logarithm has the mean mu and the standard deviation sigma."),
    "exponential": ("exponential()", "A draw from the exponential distribution with mean 1."),
    "pareto": ("pareto(shape)", "A draw from the Pareto distribution with minimum 1."),
    "since": ("since(type)", "The progress of the phase since an agent type started to learn, 0 before."),
}
CLOCKS = {
    "time": "The number of the step, from 0.",
    "@progress": "How far a phase of training has come, from 0 to 1.",
    "@iteration": "The number of the iteration within a phase of training.",
}


def describe(mention: Mention, analysis: Analysis) -> str | None:
    """What a name means, as an editor shows it."""
    names = analysis.names
    if names is None:
        return None
    match mention.what:
        case What.SYMBOL:
            parts = _symbol(mention.name, analysis)
        case What.AGENT:
            parts = _agent(mention.name, names)
        case What.INDEX:
            parts = _index(mention.name, names)
        case What.FUNCTION:
            return describe_function(mention.name, names)
        case What.UNIT:
            parts = (f"**{mention.name}**: unit", "Built in." if mention.name == "util" else "")
        case What.CONSTRAINT:
            parts = (f"**{short(mention.name)}**: constraint of {mention.name.partition('.')[0]}", "")
        case What.KEY:
            return describe_key((mention.name,))
    title, text = parts
    return "\n\n".join(part for part in (title, text, *_definitions(mention, analysis)) if part)


def signature(symbol: ir.Symbol) -> str:
    """A symbol as it is written, with its unit: `budget[i]: money`."""
    return target(symbol) + (f": {unit_text(symbol)}" if unit_text(symbol) else "")


def target(symbol: ir.Symbol) -> str:
    """A symbol as it stands on the left of an equation: `budget'[i]`."""
    name = short(symbol.name) + ("'" if symbol.name.endswith("'") else "")
    return name + (f"[{', '.join(symbol.type.axes)}]" if symbol.sets else "")


def unit_text(symbol: ir.Symbol) -> str:
    """The unit of a symbol, or why it has none; nothing in a model without units."""
    unit, kind = symbol.type.unit, symbol.type.kind
    if kind is Kind.CHOICE:
        return f"one {symbol.type.of}"
    if kind is Kind.FLAG:
        return "flag"
    return "" if unit is None else "pure number" if unit == ONE else str(unit)


def describe_function(name: str, names: Names) -> str | None:
    parts = []
    if name in BUILT_IN:
        shown, text = built_in(name)
        parts.append(f"**{shown}**\n\n{text}")
    if name in names.primitives:
        found = names.primitives[name]
        parts.append(f"**{call_of(found)}**\n\n{found.doc}\n\nunits: `{found.units.text}`")
    return "\n\n---\n\n".join(parts) or None


def built_in(name: str) -> tuple[str, str]:
    """How a function of the language that is not a primitive is written, and what it gives."""
    return BUILT_IN.get(name, (f"{name}(...)", ""))


def call_of(primitive: Primitive) -> str:
    arguments = [*primitive.arguments, *(["..."] if primitive.variadic else [])]
    return f"{primitive.name}({', '.join(arguments)})"


def describe_key(path: KeyPath) -> str | None:
    """What a key of the language is for; None for a name that the author chose."""
    key = keys_at(path[:-1]).get(str(path[-1]))
    if key is None:
        return None
    needed = ", must be given" if key.required else ""
    return "\n\n".join(part for part in (f"**{key.name}**: {form_words(key.form)}{needed}", key_text(key)) if part)


def key_text(key: Key) -> str:
    """What a key holds: its own description, else that of the tables it holds."""
    tables = [t for one in alternatives(key.form) for t in (one, *get_args(one)) if is_table(t) and t.__doc__]
    return key.description or (" ".join(tables[0].__doc__.split()) if tables else "")


def form_words(form: Any) -> str:
    """The form of a value, in words."""
    return " or ".join(dict.fromkeys(map(_form, alternatives(form))))


def describe_code(code: str) -> str | None:
    """The title of a diagnostic code, and its explanation where there is one."""
    if code not in CODES:
        return None
    page = page_of(code)
    return page.read_text(encoding="utf-8") if page else f"**{code}**: {CODES[code]}"


def page_of(code: str) -> Path | None:
    """The file that explains a diagnostic code."""
    page = Path(diagnostics.__path__[0], "pages", f"{code}.md")
    return page if page.is_file() else None


def _symbol(name: str, analysis: Analysis) -> tuple[str, str]:
    word, symbol = short(name), analysis.symbol(name)
    if name in CLOCKS:
        return f"**{word}**: number", CLOCKS[name]
    if name.startswith("@"):
        return f"**{short(name)}**: {name[1:].partition('.')[0]}", ""
    if symbol is None:
        return f"**{word}**", ""
    kind = f"choice of one {symbol.type.of}" if symbol.type.kind is Kind.CHOICE else str(symbol.type.kind)
    role = "next value of the state" if name.endswith("'") else str(symbol.role)
    lines = [f"{role}{f' of {symbol.owner}' if symbol.owner else ''}: a {kind}, {symbol.type.time.words}"]
    if symbol.sets:
        lines.append(f"one for each {' and '.join(symbol.sets)}")
    return f"**{signature(symbol)}**", "; ".join(lines) + (f"\n\n{symbol.doc}" if symbol.doc else "")


def _agent(name: str, names: Names) -> tuple[str, str]:
    agent = names.agents.get(name)
    if agent is None:
        return f"**{name}**: agent type", ""
    index = f"[{', '.join(agent.indices)}]" if agent.indices else ""
    return f"**{name}{index}**: agent type, {agent.count}", agent.doc or ""


def _index(name: str, names: Names) -> tuple[str, str]:
    agent = names.agents.get(names.indices.get(name, ""))
    if agent is None:
        return f"**{name}**: index", ""
    return f"**{name}**: index of {agent.name}", f"0 to {agent.count - 1}" if agent.count > 1 else "0"


def _definitions(mention: Mention, analysis: Analysis) -> Iterator[str]:
    """The text and the place of every definition of a name; of a state also the equation of its next value."""
    found = analysis.definitions(mention.what, mention.name)
    if mention.what is What.SYMBOL:
        base = mention.name.removesuffix("'")
        found = [one for name in (base, base + "'") for one in analysis.definitions(What.SYMBOL, name)]
    texts = [text for one in found if one.extent is not None and (text := excerpt(one.extent)) != short(mention.name)]
    if texts:
        yield "```yaml\n" + "\n".join(dict.fromkeys(texts)) + "\n```"
    places = dict.fromkeys(f"{Path(one.span.source.name).name}:{_line(one.span)}" for one in found)
    if places:
        yield ", ".join(places)


def excerpt(span: Span) -> str:
    """The text of a definition, without the indentation of the lines after its first, cut where it is long."""
    column = span.source.position(span.start)[1] - 1
    first, *more = span.source.text[span.start : span.end].rstrip().split("\n")
    lines = [first, *(re.sub(rf"^ {{0,{column}}}", "", line) for line in more)]
    return "\n".join([*lines[:LONGEST_DEFINITION], *(["..."] if len(lines) > LONGEST_DEFINITION else [])])


def _line(span: Span) -> int:
    return span.source.position(span.start)[0]


def _form(form: Any) -> str:
    if form == Equations:
        return "text"
    if form == Expression:
        return "expression"
    if form == Name:
        return "name"
    if get_origin(form) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(form))
    if get_origin(form) in (list, tuple):
        return "list"
    if get_origin(form) is dict or is_table(form):
        return "table"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(form, "value")
