"""Inputs for `fuzz.py`: specs that ship or are tests, mutated, and specs made up from the grammar or from nothing.

`case(seed, number)` always gives the same input. A mutator takes a random generator and a text, and gives another
text; most inputs are the work of one to four of them.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from lark import Lark

from rbcc.compiler.source import shipped_models


SPECS = Path(__file__).parents[1] / "tests" / "specs"

Random = random.Random


@dataclass(frozen=True)
class Case:
    """One input: files, of which `model.yaml` is compiled, and what stands behind `--set`; `kind` says how it came."""

    kind: str
    base: str
    files: dict[str, bytes]
    sets: tuple[str, ...] = ()


@cache
def corpus() -> dict[str, str]:
    """The texts that inputs start from, by name."""
    paths = [*sorted(shipped_models().glob("*.yaml")), *sorted(SPECS.glob("**/*.yaml"))]
    return {str(path): path.read_text(encoding="utf-8", errors="replace") for path in paths}


@cache
def good() -> tuple[str, ...]:
    """Names of specs that compile; the small ones come more often, for speed."""
    shipped = [str(path) for path in sorted(shipped_models().glob("*.yaml"))]
    return (*shipped, *[str(path) for path in sorted(SPECS.glob("*.yaml"))] * 2 * len(shipped))


_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")


@cache
def tokens() -> tuple[str, ...]:
    return tuple(sorted({token for text in corpus().values() for token in _TOKEN.findall(text)}))


@cache
def names() -> tuple[str, ...]:
    return tuple(token for token in tokens() if _NAME.fullmatch(token))


@cache
def right_sides() -> tuple[str, ...]:
    """Expressions as people wrote them."""
    found = {m.strip() for text in corpus().values() for m in re.findall(r"[^=<>!]=([^=#\n]+)", text)}
    return tuple(sorted(found))


# --- values that are likely to break something ---------------------------------------------------------------------

ODD = (
    "\0", "\x01", "\x07", "\x1b[31m", "\x7f", "\x85", "\xa0", "\xad", "\u2028", "\u2029", "\u200b", "\u202e", "\ufeff", "\ufffd",
    "\ufffe", "é", "é", "ﬁ", "ß", "İ", "ı", "ſ", "K", "Ⅷ", "²", "１２", "٣", "𝐱", "𝟜", "😀", "\U000e0001", "\U0010ffff",
    "−", "×", "’", "“", "…", "\t", "\r", "\r\n", "\v", "\f", "\x1c", "\\", "\\n", "\\ud800", "\\x00", '"', "'", "`", "#", " #", ": ", ":",
    "%", "@", "!", "&a", "*a", "<<", "|", ">", "?", "? ", "- ", "---", "...", "{", "}", "[", "]", "{}", "[]", "~", "$", "^", "''", '""',
)  # fmt: skip
NUMBERS = (
    "0", "-0", "1", "-1", "2", "0.5", "1e-3", "1e3", "99", "100000", "1000000", "2147483647", "2147483648", "4294967296",
    "9223372036854775808", "1e18", "1e30", "1e38", "3.5e38", "1e39", "1e308", "1e309", "-1e309", "1e-320", "1e-400", "1e99999", "1e9999999999",
    ".inf", "-.inf", ".nan", "inf", "nan", "1_000", "0x10", "0o7", "010", "1%", "300%", "1.5.2", "1e", "٣", "１２", "9" * 30, "9" * 400,
    "9" * 5000, "0." + "1" * 400, "1e-" + "9" * 30, "12:30", "2001-01-01", "1/3", "2^2^2^2^2", "9^9^9^9", "(9^9)^9^9", "0^0", "0^-1", "-8^(1/3)",
    "1e38 * 1e38", "2^64^64", "(2^64)^64", "1e-30^64", "0.99999^64^64^64", "exp(1000)", "exp(-1000)", "log(0)", "log(-1)", "sqrt(-1)", "1 / log(1)",
    "floor(1e38)", "clip(1, 2, 1)", "crra(0, 1)", "crra(-1, 0.5)", "crra(1, 1)", "cara(-1e30, 9)", "cycle(0.5, 1, 2)", "cycle(-1, 1)", "ration(0, 0)",
    "gini(i, budget[i])", "gini(j, 0 * j)", "gini(j, 1e38 * j)", "quantile(j, price[j], 2)", "quantile(j, j, 1 / 0)", "median(i, j, 1e30 * i - j)",
    "top_share(j, -j, 1%)", "price[argmax(j, price[j])]", "price[argmin(j, j == argmax(j, j))]", "argmax(i, i)", "argmin(j, 1) == 0",
    "tanh(1e30)", "max(1, 1)", "cobb_douglas(-1, 2, 0.5)", "count(buyer)^count(seller)", "horizon^horizon^horizon", "1e38 + 1e38", "-(2^127)",
)  # fmt: skip
WORDS = (
    "", "null", "~", "true", "false", "no", "yes", "on", "None", "nan", "time", "horizon", "public", "reward", "where", "if", "else",
    "and", "or", "not", "sum", "count", "gini", "quantile", "argmax", "normal()", "uniform()", "bernoulli(0.5)", "since(buyer)", "progress", "iteration", "jax", "jnp", "lambda",
    "class", "def", "import", "__class__", "__import__('os')", "keys", "state", "actions", "following", "self", "print", "exec", "types", "value",
    "start", "extends", "i", "j", "util", "1", "public'", "x'", "@progress", "shared_1", "seen_1", "next_price", "cost_", "closed_rbc", "cournot",
)  # fmt: skip


def scalar(random: Random) -> Any:
    """A single value as YAML may hold it."""
    pick = random.randrange(7)
    if pick == 0:
        return random.choice(
            [None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 1e308, float("inf"), float("nan"), 0.1]
        )
    if pick == 1:
        return random.choice(NUMBERS)
    if pick == 2:
        return random.choice(ODD)
    if pick == 3:
        return random.choice(WORDS)
    if pick == 4:
        return random.choice(right_sides())
    if pick == 5:
        return expression(random)
    return random.choice(names())


def value(random: Random, depth: int = 2) -> Any:
    """A value, a list or a table."""
    if depth == 0 or random.random() < 0.6:
        return scalar(random)
    if random.random() < 0.5:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    return {str(scalar(random)): value(random, depth - 1) for _ in range(random.randrange(4))}


# --- expressions from the grammar ----------------------------------------------------------------------------------


@cache
def _grammar() -> tuple[dict[str, list[list[Any]]], dict[str, str]]:
    """The productions of every symbol of the expression language, and the text of every fixed terminal."""
    text = files("rbcc.compiler.syntax").joinpath("grammar.lark").read_text(encoding="utf-8")
    lark = Lark(text, parser="lalr", start=["expression", "equation", "unit"])
    rules: dict[str, list[list[Any]]] = {}
    for rule in lark.rules:
        rules.setdefault(str(rule.origin.name), []).append(list(rule.expansion))
    return rules, {str(t.name): t.pattern.value for t in lark.terminals if type(t.pattern).__name__ == "PatternStr"}


def expression(random: Random, start: str = "expression", words: tuple[str, ...] = ()) -> str:
    """A random text of the expression language with the given names."""
    rules, fixed = _grammar()
    several = {"COMPARE": ("==", "!=", "<=", ">=", "<", ">"), "SIGN": ("+", "-"), "SCALE": ("*", "/")}
    left = [random.choice((5, 10, 20, 60, 200))]  # symbols that may still be expanded freely

    def derive(symbol: Any) -> Iterator[str]:
        if symbol.is_term:
            if symbol.name in fixed:
                yield fixed[symbol.name]
            elif symbol.name == "NAME":
                yield random.choice(words) if words and random.random() < 0.9 else random.choice(names())
            elif symbol.name == "NUMBER":
                yield random.choice(("0", "1", "2", "0.5", "3", "1e-3", "5%", random.choice(NUMBERS)))
            else:
                yield random.choice(several[symbol.name])
            return
        left[0] -= 1
        choices = rules[symbol.name]
        if left[0] < 0 or random.random() < 0.5:
            choices = [c for c in choices if len(c) == min(map(len, choices))]
        # Once the budget is spent, an atom is a name or a number.
        if left[0] < 0 and symbol.name == "atom":
            choices = [c for c in choices if c[0].is_term]
        for part in random.choice(choices):
            yield from derive(part)

    from lark.grammar import NonTerminal

    glue = " " if random.random() < 0.9 else ""
    return glue.join(derive(NonTerminal(start)))


# --- mutators: text to text ----------------------------------------------------------------------------------------


def _place(random: Random, text: str) -> int:
    return random.randrange(len(text) + 1)


def odd_characters(random: Random, text: str) -> str:
    for _ in range(random.choice((1, 1, 2, 5))):
        at = _place(random, text)
        text = (
            text[:at]
            + random.choice((*ODD, "\ud800")) * random.choice((1, 1, 1, 3, 200))
            + text[at + random.randrange(2) :]
        )
    return text


def characters(random: Random, text: str) -> str:
    """Typing errors: a character lost, doubled, changed for another, two exchanged."""
    for _ in range(random.choice((1, 1, 2, 4))):
        if len(text) < 2:
            return text
        at = random.randrange(len(text) - 1)
        other = random.choice(text)
        change = random.choice(("", text[at] * 2, other, text[at + 1] + text[at]))
        text = text[:at] + change + text[at + (2 if len(change) == 2 and change[0] != change[1] else 1) :]
    return text


def some_tokens(random: Random, text: str) -> str:
    """Tokens lost, doubled, exchanged, replaced by those of other specs."""
    parts = _TOKEN.findall(text)
    for _ in range(random.choice((1, 1, 1, 2, 4, 10))):
        if not parts:
            break
        at, other = random.randrange(len(parts)), random.randrange(len(parts))
        match random.randrange(5):
            case 0:
                parts[at] = ""
            case 1:
                parts[at] *= 2
            case 2:
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = random.choice(tokens())
            case 4:
                parts[at] = parts[other]
    return "".join(parts)


def other_names(random: Random, text: str) -> str:
    """A name replaced by another one of the same spec, or by a word that means something."""
    found = list(_NAME.finditer(text))
    if not found:
        return text
    match = random.choice(found)
    new = random.choice(found).group() if random.random() < 0.7 else random.choice(WORDS)
    if random.random() < 0.2:
        return re.sub(rf"\b{re.escape(match.group())}\b", lambda _: new, text)
    return text[: match.start()] + new + text[match.end() :]


def other_numbers(random: Random, text: str) -> str:
    found = list(_NUMBER.finditer(text))
    for match in sorted(random.sample(found, min(len(found), random.choice((1, 1, 2)))), key=lambda m: -m.start()):
        text = text[: match.start()] + random.choice(NUMBERS) + text[match.end() :]
    return text


def lines(random: Random, text: str) -> str:
    """Lines lost, doubled, moved, indented otherwise, or taken from another spec."""
    rows = text.splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not rows:
            break
        at = random.randrange(len(rows))
        match random.randrange(6):
            case 0:
                del rows[at : at + random.choice((1, 1, 3, 10))]
            case 1:
                rows.insert(at, rows[at])
            case 2:
                rows.insert(random.randrange(len(rows)), rows.pop(at))
            case 3:
                rows[at] = random.choice((" ", "  ", "\t", "    ")) + rows[at]
            case 4:
                rows[at] = rows[at][random.randrange(4) :]
            case 5:
                donor = random.choice(list(corpus().values())).splitlines(keepends=True)
                start = random.randrange(len(donor))
                rows[at:at] = donor[start : start + random.choice((1, 2, 8))]
    return "".join(rows)


def cut(random: Random, text: str) -> str:
    """A part lost, as when a file was not written to its end."""
    first, last = sorted((_place(random, text), _place(random, text)))
    return random.choice((text[:first], text[last:], text[:first] + text[last:]))


def splice(random: Random, text: str) -> str:
    """The right side of an equation replaced by one from anywhere."""
    return _replace_right_side(random, text, random.choice(right_sides()))


def from_grammar(random: Random, text: str) -> str:
    """The right side of an equation replaced by an expression of the grammar with the names of the spec."""
    words = tuple(_NAME.findall(text))
    if random.random() < 0.15:
        equation = expression(random, "equation", words)
        return text.replace("equations:\n", f"equations:\n  made up: |\n    {equation}\n")
    if random.random() < 0.1:
        return re.sub(r"unit: [^,}\n]+", lambda _: f"unit: {expression(random, 'unit', words)}", text, count=1)
    return _replace_right_side(random, text, expression(random, words=words))


_EQUATION = re.compile(r"(?<=[^=<>!] =)[^=#\n]+")
_VALUE = re.compile(r"(?<=value: |start: |scale: )[^,{}\n]+(?=[,}])|(?<=reward: |scount: )[^\n]+")
_ANY_VALUE = re.compile(r"(?<=: )[^:,{}\n]+(?=[,}\n])")


def _replace_right_side(random: Random, text: str, new: str) -> str:
    """A right side in a block of equations or, in quotes where there must be some, a value of the YAML."""
    pattern = random.choice((_EQUATION, _EQUATION, _EQUATION, _VALUE, _VALUE, _ANY_VALUE))
    found = list(pattern.finditer(text))
    if not found:
        return text
    match, new = random.choice(found), new.replace("\n", " ")
    if pattern is not _EQUATION and random.random() < 0.8:
        new = "'" + new.replace("'", "''") + "'"
    return text[: match.start()] + " " * (pattern is _EQUATION) + new + text[match.end() :]


def structure(random: Random, text: str) -> str:
    """Keys and values of the YAML tree lost, renamed, moved, replaced; written anew in another style."""
    try:
        root = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        return lines(random, text)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        spots = list(_spots(root))
        if not spots:
            break
        table, key = random.choice(spots)
        other, other_key = random.choice(spots)
        match random.randrange(6):
            case 0:
                del table[key]
            case 1 if isinstance(table, dict):
                table[random.choice((str(scalar(random)), str(other_key), random.choice(names())))] = table.pop(key)
            case 2:
                table[key] = value(random)
            case 3:
                table[key] = yaml.load(yaml.dump(other[other_key], Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader)
            case 4 if isinstance(table, dict):
                table[str(scalar(random))] = value(random)
            case _:
                table[key] = [table[key]] if random.random() < 0.5 else {"value": table[key]}
    style = random.choice((None, None, False, True))
    return yaml.dump(
        root,
        Dumper=yaml.CSafeDumper,
        sort_keys=False,
        default_flow_style=style,
        allow_unicode=random.random() < 0.5,
        width=200,
    )


def _spots(node: Any) -> Iterator[tuple[Any, Any]]:
    entries = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, inner in entries:
        yield node, key
        yield from _spots(inner)


def nested(random: Random, text: str) -> str:
    """Something nested many times, or a chain of very many parts, in an expression or in the YAML."""
    n = random.choice((3, 30, 60, 95, 105, 290, 1000, 20000))
    first, last = random.choice(
        (
            ("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("sum(i, ", ")"), ("min(1, ", ")"), ("abs(", ")"), ("1 + ", ""), ("2^", ""),
            ("1 if 1 > 2 else ", ""), ("", " if 1 > 2 else 3"), ("1 < ", ""), ("true and ", ""), ("price[", "]"), ("{a: ", "}"), ("- ", ""),
            ("", " * 9"), ("", "^9"), ("", " / 3"), ("", " == 1"), ("(", ""), ("", ")"), ("", "'"), ("+", ""), ("max(", ", 1)"), ("a.", ""),
            ("(1 + ", ")"), ("1, ", ""), ("normal() + ", ""), ("exp(0 * ", ")"), ("count(i where ", " > 0)"), ("gini(i, ", ")"), ("price[argmax(j, ", ")]"), ("a: ", ""), ('"', '"'), ("&a [", "]"),
        )
    )  # fmt: skip
    if random.random() < 0.2:
        first, last = random.choice(tokens()) + random.choice(("", " ")), random.choice(("", random.choice(tokens())))
    inner = random.choice(("1", "price[j]", "x", ""))
    return _replace_right_side(random, text, first * n + inner + last * n)


def many(random: Random, text: str) -> str:
    """Very many of something: equations, parameters, types, states, errors, lines, characters."""
    n = random.choice((10, 100, 1000, 5000, 20000))
    kind = random.randrange(12)
    rows: Iterator[str] | list[str]
    if kind == 0:
        rows = [f"    extra{k} = extra{k - 1} + 1" if k else "    extra0 = 1" for k in range(n)]
        return text.replace("equations:\n", "equations:\n  many: |\n" + "\n".join(rows) + "\n")
    if kind == 1:
        rows = [f"    extra{k} = extra{(k + 1) % n} + unknown{k}" for k in range(n)]
        return text.replace("equations:\n", "equations:\n  many: |\n" + "\n".join(rows) + "\n")
    if kind == 2:
        rows = [f"  extra{k}: {{value: extra{k - 1} * 2}}" if k else "  extra0: 2" for k in range(n)]
        return text.replace("parameters:\n", "parameters:\n" + "\n".join(rows) + "\n", 1)
    if kind == 3:
        rows = [f"  kind{k}: {{index: x{k}, count: {k + 1}}}" for k in range(n)]
        return text.replace("agents:\n", "agents:\n" + "\n".join(rows) + "\n")
    if kind == 4:
        return re.sub(r"\bprice\b", lambda m: f"price{random.randrange(10**6)}", text)
    if kind == 5:
        return text + "# " + "x" * n * 50
    if kind == 6:
        return text.replace("\n", "\n" * random.choice((2, 50)))
    if kind == 7:
        word = random.choice(names())
        return re.sub(rf"\b{word}\b", lambda _: word * (n // 10), text)
    if kind == 8:
        return _replace_right_side(random, text, " + ".join(f"unknown{k}" for k in range(n)))
    if kind == 9:
        return _replace_right_side(random, text, random.choice(right_sides()) + " " * n * 10 + "+")
    if kind == 10:
        return text + "".join(f"key{k}: {k}\n" for k in range(n))
    at = random.choice([m.end() for m in re.finditer("\n", text)] or [0])
    row = text[at : text.find("\n", at) + 1]
    return text[:at] + row * n + text[at:]


def aliases(random: Random, text: str) -> str:
    """Anchors, aliases, tags, merge keys, and the bomb that they make."""
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 30))
    extra = random.choice(
        (bomb, "a: &a {b: *a}\n", "a: &a 1\nb: *a\n", "a: !!python/object/apply:os.system [ls]\n", "!!binary aaaa\n", "<<: {a: 1}\n",
         "%YAML 1.1\n---\n", "%TAG ! tag:x,2000:\n---\n", "--- &a\n", "--- !!map\n", "? [a, b]\n: c\n", "? |\n  a\n: b\n", "...\n", "---\n", "{<<: *a}\n")
    )  # fmt: skip
    return random.choice((extra + text, text + extra, extra))


# Those that more often leave something that can be compiled come more often.
MUTATORS: tuple[Callable[[Random, str], str], ...] = (
    odd_characters, characters, some_tokens, lines, cut, nested, many, aliases, *(other_names, other_numbers, splice, from_grammar, structure) * 3,
)  # fmt: skip
_MILD = (
    characters,
    some_tokens,
    other_names,
    other_names,
    other_numbers,
    lines,
    splice,
    splice,
    from_grammar,
    structure,
)


def some_bytes(random: Random, data: bytes) -> bytes:
    """Bytes changed, lost or added; other encodings."""
    pick = random.randrange(6)
    if pick == 0:
        return data.decode("utf-8", "surrogateescape").encode(
            random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")), "replace"
        )
    if pick == 1:
        return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\0")))
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20, 300))):
        at = random.randrange(len(changed) + 1)
        changed[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
    return bytes(changed)


# --- whole inputs --------------------------------------------------------------------------------------------------


def _overridden(random: Random, base: str, text: str) -> Case:
    """A right spec with odd overrides."""
    try:
        root = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        root = {}
    paths: list[str] = []

    def collect(node: Any, above: str) -> None:
        for key, inner in node.items() if isinstance(node, dict) else ():
            paths.append(f"{above}{key}")
            collect(inner, f"{above}{key}.")

    collect(root, "")
    sets = []
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        path = random.choice(paths or [""])
        if random.random() < 0.3:
            path = random.choice((characters, odd_characters, other_names))(random, path)
        if random.random() < 0.2:
            path += random.choice(
                (".x", ".value", ".start", ".", "..", ".0", ".public", ".null", "'", "[0]", ".a" * 5000)
            )
        new = value(random) if random.random() < 0.8 else [value(random)]
        shown = (
            new if isinstance(new, str) else yaml.dump(new, default_flow_style=True, Dumper=yaml.CSafeDumper).strip()
        )
        shown = random.choice(
            (shown, shown, shown, f"[{shown}", f"{{{shown}}}", f"[{shown}]", shown.removesuffix("\n..."))
        )
        argument = f"{path}={shown}" if random.random() < 0.97 else random.choice((path, "=", f"={shown}", ""))
        sets.append(argument.replace("\0", ""))  # which cannot be part of an argument
    return Case("overrides", base, {"model.yaml": text.encode("utf-8", "surrogateescape")}, tuple(sets))


def _extending(random: Random, base: str, text: str) -> Case:
    """Specs that extend others, themselves, or what is not a spec."""
    parent = random.choice(
        ("base.yaml", "base.yaml", "base.yaml", "model.yaml", "./base.yaml", "base", ".", "..", "/", "", "nowhere.yaml", "/dev/zero", "/dev/stdin",
         "'a\\0b'", '"a\\0b"', "a" * 300, "a/" * 3000, "~", "[base.yaml]", "{a: 1}", "1", "closed_rbc", "base.yaml/x", "\ufeffbase.yaml", "bäse.yaml")
    )  # fmt: skip
    changed = text
    for mutate in random.choices(_MILD, k=random.randrange(3)):
        changed = mutate(random, changed)
    child = random.choice(
        ("", "model: other\n", "parameters: null\n", "agents: {buyer: null}\n", "agents: {buyer: {state: null}}\n", "equations: {accounts: null}\n",
         "parameters: {cost: 3}\n", "parameters: {cost: [1]}\n", "parameters: {cost: {unit: good}}\n", "agents: {buyer: {count: 2}}\n", "units: null\n",
         "model: null\n", "agents: 3\n", "equations: {accounts: {a: b}}\n", "rbcc: 2\n", lines(random, changed), yaml.dump(value(random)) + "\n")
    )  # fmt: skip
    found = {"model.yaml": f"extends: {parent}\n{child}", "base.yaml": changed}
    if random.random() < 0.3:
        depth = random.choice((2, 19, 20, 21, 60))
        found["base.yaml"] = "extends: b0.yaml\n"
        found |= {f"b{k}.yaml": f"extends: b{k + 1}.yaml\n" for k in range(depth)}
        found[f"b{depth}.yaml"] = random.choice((changed, "extends: model.yaml\n", ""))
    return Case("extends", base, {name: text.encode("utf-8", "surrogatepass") for name, text in found.items()})


_FUNCTIONS = """from rbcc import primitive


@primitive(units="a, a -> util", latex=r"\\log({c} - {floor})")
def stone_geary(c, floor):
    \"\"\"Utility of consumption above a floor.\"\"\"
    return jnp.log(jnp.where(c > floor, c - floor, 1))
"""


def _own_functions(random: Random, base: str, text: str) -> Case:
    """A spec with functions of its own, of which some tokens are lost, doubled or exchanged: no new ones, it is run."""
    parts = _TOKEN.findall(_FUNCTIONS)
    for _ in range(random.randrange(4)):
        at, other = random.randrange(len(parts)), random.randrange(len(parts))
        parts[at] = random.choice(("", parts[at] * 2, parts[other]))
    call = random.choice(
        ("stone_geary(price[j], 1)", "stone_geary(1)", "stone_geary(price[j], sold[j])", "stone_geary")
    )
    text = _replace_right_side(random, text, call)
    used = random.choice(
        (
            "[mine.py]",
            "[mine.py]",
            "[mine.py]",
            "mine.py",
            "[mine.py, mine.py]",
            "[.]",
            "[model.yaml]",
            "[none.py, mine.py]",
            "[1]",
        )
    )
    encoded = text.encode("utf-8", "surrogateescape")
    return Case(
        "own functions", base, {"model.yaml": f"use: {used}\n".encode() + encoded, "mine.py": "".join(parts).encode()}
    )


def _from_nothing(random: Random) -> Case:
    """Random bytes, characters, tokens, YAML."""
    pick = random.randrange(5)
    n = random.choice((0, 1, 5, 50, 500))
    if pick == 0:
        return Case("random bytes", "", {"model.yaml": random.randbytes(n)})
    if pick == 1:
        text = "".join(random.choice(ODD) if random.random() < 0.3 else chr(random.randrange(0x3000)) for _ in range(n))
    elif pick == 2:
        text = "".join(random.choices(tokens(), k=n))
    elif pick == 3:
        keys = random.sample(
            ["rbcc", "model", "units", "horizon", "discount", "parameters", "state", "agents", "equations", "identities",
             "invariants", "indicators", "training", "verify", "public", "use", "extends", "title"], random.randrange(18),
        )  # fmt: skip
        text = yaml.dump({key: value(random, 4) for key in keys}, sort_keys=False, allow_unicode=True)
    else:
        text = yaml.dump(value(random, 6), default_flow_style=random.random() < 0.5)
    return Case("from nothing", "", {"model.yaml": text.encode("utf-8", "surrogatepass")})


def case(seed: int, number: int) -> Case:
    """The input with this number."""
    random = Random(f"{seed}:{number}")
    pick = random.random()
    if pick < 0.04:
        return _from_nothing(random)
    base = random.choice(good()) if random.random() < 0.8 else random.choice(list(corpus()))
    text = corpus()[base]
    if pick < 0.14:
        return _overridden(random, base, text)
    if pick < 0.20:
        return _extending(random, base, text)
    if pick < 0.22:
        return _own_functions(random, base, text)
    chosen = [random.choice(MUTATORS)] if pick < 0.65 else random.choices(_MILD, k=random.choice((2, 3, 4, 8)))
    for mutate in chosen:
        text = mutate(random, text)
    data = text.encode("utf-8", random.choice(("surrogatepass", "replace")))
    kind = chosen[0].__name__ if len(chosen) == 1 else "several"
    if random.random() < 0.05:
        kind, data = "bytes", some_bytes(random, data)
    return Case(kind, base, {"model.yaml": data})
