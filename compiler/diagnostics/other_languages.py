"""What other languages call it: words and notations that authors bring along, and what is written here.

Each row has an example in which it is met; a test tries them all out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Trap:
    """What is wrong, and what to write instead."""

    message: str
    help: str


class Notation(NamedTuple):
    """A pattern that is matched where reading stopped."""

    pattern: str
    example: str
    help: str


class Number(NamedTuple):
    """A pattern of numbers as a whole."""

    pattern: str
    example: str
    trap: Callable[[str], Trap]


# --- names -----------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "ln": "the natural logarithm is log",
    "pow": "a power is written a^b",
    "power": "a power is written a^b",
    "average": "write mean(i, x[i])",
    "ifelse": "write a if condition else b",
    "lag": "a value of an earlier step has to be kept in a state",
    "lead": "the next value of a state is written x'",
    **dict.fromkeys(("expect", "E"), "there is no expectation operator: agents learn from experience"),
    "total": "write sum(i, x[i])",
    "rand": "write uniform() for a draw between 0 and 1",
    "randn": "write normal() for a draw with mean 0 and variance 1",
    "round": "write floor(x + 0.5)",
    "len": "count(buyer) is the number of agents of the type 'buyer'",
    "prod": "write product(i, x[i])",
    "percentile": "write quantile(i, x[i], 0.9) for what 90 % of the agents lie below",
    "rank": "count(k where x[k] > x[i]) is the number of those that have more than i",
}
"""Functions."""

WORDS = {
    **dict.fromkeys(("yes", "on", "True", "TRUE", "Yes", "On", "YES", "ON"), "a flag is written true or false"),
    **dict.fromkeys(("no", "off", "False", "FALSE", "No", "Off", "NO", "OFF"), "a flag is written true or false"),
    **dict.fromkeys(("None", "NA", "nothing"), "leave out a key that has no value"),
    **dict.fromkeys(("inf", "infinity", "Inf", "nan", "NaN", "oo"), "write a large number, such as 1e9"),
    "E": "there is no expectation operator, since agents learn from experience; over agents it is mean(i, x[i])",
}
"""Words that stand for a value."""

KEYS = {
    "var": "'state' of the spec or of an agent type holds what is carried from step to step",
    "variables": "'state' of the spec or of an agent type holds what is carried from step to step",
    "varexo": "a shock is drawn in an equation: eps = normal()",
    "shocks": "a shock is drawn in an equation: eps = normal()",
    "params": "did you mean 'parameters'?",
    "constants": "did you mean 'parameters'?",
    "calibration": "did you mean 'parameters'?",
    "periods": "did you mean 'horizon'?",
    "steps": "did you mean 'horizon'?",
    "T": "did you mean 'horizon'?",
    "beta": "did you mean 'discount'?",
    "model_equations": "did you mean 'equations'?",
    "choices": "did you mean 'actions'?",
    "observations": "did you mean 'observes'?",
    "utility": "did you mean 'reward'?",
    "payoff": "did you mean 'reward'?",
    "unknown": "did you mean 'unknowns'? It is a table: 'rent: {between: [0.01, 100]}'",
    "solver": "did you mean 'solve'?",
    "clearing": "did you mean 'solve'?",
    "implicit": "did you mean 'solve'?",
    "objective": "did you mean 'reward'?",
    "number": "did you mean 'count'?",
    "size": "did you mean 'count'?",
    "initial": "did you mean 'start'?",
    "init": "did you mean 'start'?",
    "units": "did you mean 'unit'?",
    "description": "did you mean 'doc'?",
    "low": "did you mean 'from'?",
    "min": "did you mean 'from'?",
    "high": "did you mean 'to'?",
    "max": "did you mean 'to'?",
}
"""Keys of a spec. Where the help names another key, it is given only in tables that have that one."""


# --- notations: the first that matches is told -----------------------------------------------------------------------

EXPRESSIONS: tuple[Notation, ...] = (
    Notation(r"\*\*|(?<=\*)\*", "x ** 2", "a power is written x^2"),
    Notation(r"&&?", "a && b", "write 'and'"),
    Notation(r"\|\|?", "a || b", "write 'or'"),
    Notation(r"!(?!=)", "!a", "write 'not'"),
    Notation(r"=(?!=)", "a = b", "equality is tested with =="),
    Notation(r"AND\b|OR\b|NOT\b", "a AND b", "and, or and not are written in small letters"),
    Notation(r"\?", "a ? b : c", "write a if condition else b"),
    Notation(r"\{", "{a}", "use ( ) for grouping and [ ] for indices"),
    Notation(r"@|:=|<-", "@a", "an equation is written name = expression"),
    Notation(r"[“”„«»]", "“a”", 'these are not the quotes of a keyboard: write "...", or no quotes'),
    Notation(r"[‘’`´′]", "a’", "use the plain ' for a next value"),
    Notation(r"[−–—]", "a − b", "use the plain minus sign -"),
    Notation(r"[×·]", "a × b", "write * for a product"),
    Notation(r"[÷]", "a ÷ b", "write / for a quotient"),
    Notation(r"[≤≥≠]", "a ≤ b", "write <=, >= or !="),
    Notation(r"[²³]", "(x)²", "a power is written x^2"),
    Notation(r"for\b|in\b", "sum(x[i] for i in y)", "a sum is written sum(i, x[i])"),
    Notation(r"(?<=\])\[", "x[i][j]", "indices stand in one pair of brackets: x[i,j]"),
    Notation(r"(?<=\])\(\s*-\s*\d", "x[i](-1)", "there are no lags: keep what is past in a state, last_x'[j] = x[j]"),
    Notation(r"(?<=\])\(\s*\+?\s*\d", "x[i](+1)", "there are no leads: the next value of a state is written x'[j]"),
    Notation(
        r"[\u00a0\u2000-\u200b\u202f\u3000\ufeff]",
        "a\u00a0+ b",
        "this is an invisible character that looks like a space: delete it",
    ),
    Notation(r";", "a;", "an equation ends with its line; remove the ';'"),
    Notation(r"[$€£¥]", "1 + $5", "a number stands alone; its unit has a key of its own, 'unit: money'"),
    Notation(r"%", "1 + 5 %", "a per cent sign follows its number without a space: 5%"),
    Notation(r"\\", "\\alpha", "this is LaTeX; write names and operators as in a program: alpha * x"),
    Notation(r":", "a : b", "a value with ':' in it is not an expression"),
    Notation(r"\.(inf|nan|Inf|NaN)", "1 + .inf", "write a large number, such as 1e9"),
    Notation(r"_[0-9]", "1 + 1_000", "a number has no '_' in it: write 1000"),
    Notation(r"(?<=0)[xXoObB][0-9a-fA-F]+", "1 + 0x1F", "write the number in decimals"),
    Notation(r"per\b", "a per b", "write / for per: money/good"),
    Notation(r"percent\b", "1 + 5 percent", "write 5% for five per cent"),
    Notation(r",$", "a + b,", "remove the comma"),
)

EQUATIONS: tuple[Notation, ...] = (
    Notation(r"\.", "a.b = 1", "a name on the left has no owner: write sold[j]; a state is known by its index"),
    Notation(r"\d", "x[0] = 1", "an index is a name, not a number; for cases write a if j == 0 else b"),
    Notation(r"\+=|-=|\*=|/=", "x += 1", "for a new value in the next step write x' = x + ..."),
    Notation(r"==", "x == 1", "one = defines a value; == tests whether two are equal"),
    Notation(r"\(\s*\+?\s*1\s*\)", "x(+1) = 1", "the next value of a state is written with a prime: x'[j] = ..."),
    Notation(
        r"\(\s*-\s*\d",
        "x(-1) = 1",
        "an equation says what is now, x = ..., or comes next, x' = ...: the past cannot be changed",
    ),
    Notation(r"[-+*/(]", "x + y = 1", "the left side is one name: solve the equation for it"),
    Notation(
        r"<=|>=|<(?!-)|>", "x <= 1", "an equation has one =; a condition that must hold is listed under 'invariants'"
    ),
    Notation(r"[^\W\d]", "x y = 1", "the left side is one name, then comes ="),
)
"""On the left side of an equation."""

UNITS: tuple[Notation, ...] = (
    Notation(r"per\b", "money per good", "write / for per: money/good"),
    Notation(r"[$€£¥]", "$", "a unit is a name that is listed under 'units', such as money"),
    Notation(r"[^\W\d]", "2 money", "a unit has no factor, and * or / between two names"),
    Notation(r"\(", "(money)", "units have no brackets: money/good/hour"),
)


# --- numbers ---------------------------------------------------------------------------------------------------------

_SIGN = r"[-+]?"
NUMBERS: tuple[Number, ...] = (
    Number(
        rf"{_SIGN}0[0-9]+(\.[0-9]*)?",
        "007",
        lambda text: Trap(
            f"'{text}' starts with a 0: some read it as octal, some as decimal", f"write {_decimal(text)}"
        ),
    ),
    Number(
        rf"{_SIGN}0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)",
        "0x1F",
        lambda text: Trap(f"'{text}' is not a decimal number", f"write {int(text, 0)}"),
    ),
    Number(
        rf"{_SIGN}[0-9]+(_[0-9]+)+(\.[0-9]*)?",
        "1_000",
        lambda text: Trap(f"'_' in the number '{text}'", f"write {text.replace('_', '')}"),
    ),
    Number(
        rf"{_SIGN}[1-9][0-9]{{0,2}}(,[0-9]{{3}})+(\.[0-9]*)?",
        "1,000",
        lambda text: Trap(
            f"a comma in the number '{text}'",
            f"write {text.replace(',', '')}, or {text.replace(',', '.', 1)} if it is a decimal comma",
        ),
    ),
    Number(
        rf"{_SIGN}[0-9]+,[0-9]+",
        "1,5",
        lambda text: Trap(f"a comma in the number '{text}'", f"write a decimal point: {text.replace(',', '.')}"),
    ),
    Number(
        rf"{_SIGN}[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?",
        "12:30",
        lambda text: Trap(f"'{text}' is a time of day or an angle, not a number", f"write a number: {_seconds(text)}"),
    ),
    Number(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}",
        "2020-01-01",
        lambda text: Trap(f"'{text}' is a date, not a number", "write a number, such as the year or the step"),
    ),
    Number(
        rf"{_SIGN}\.?(inf|Inf|INF|infinity|Infinity|oo)|\.?(nan|NaN|NAN)",
        ".inf",
        lambda text: Trap(f"'{text}' is not a finite number", "write a large number, such as 1e6"),
    ),
    Number(
        rf"({_SIGN}[0-9.]+)\s+(%|percent|per cent)",
        "5 percent",
        lambda text: Trap(f"'{text}' is not a number", f"write {text.split()[0]}%"),
    ),
    Number(
        r"[$€£¥]\s*[0-9.,]+|[0-9.,]+\s*[$€£¥]",
        "$5",
        lambda text: Trap(
            f"'{text}' has a currency sign", "write the number alone; a unit has a key of its own, 'unit: money'"
        ),
    ),
)


def number_trap(text: str) -> Trap | None:
    """What is wrong with `text` if it is a number in a notation that is not one here."""
    text = text.strip()
    if not _ANY_TRAP.fullmatch(text):
        return None
    return next(number.trap(text) for number in NUMBERS if re.fullmatch(number.pattern, text))


_ANY_TRAP = re.compile("|".join(number.pattern for number in NUMBERS))


def _decimal(text: str) -> str:
    return re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)


def _seconds(text: str) -> str:
    """What YAML 1.1 reads: 12:30 is 12 x 60 + 30."""
    total, sign = 0.0, -1 if text.startswith("-") else 1
    for part in text.lstrip("+-").split(":"):
        total = 60 * total + float(part)
    return f"{sign * total:g}"
