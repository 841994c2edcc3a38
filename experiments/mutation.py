"""Mutation test: small random changes of meaning in the models that ship, and how many of them are noticed.

    nice -n 19 python3 experiments/mutation.py --edits 300 --seed 1              # compile alone
    nice -n 19 python3 experiments/mutation.py --edits 300 --seed 1 --check 60   # `rbcc check` of 60 survivors a model
    nice -n 19 python3 experiments/mutation.py --budgets                         # every term of every budget, dropped

A model is resolved (`extends` merged in), one change is made in its equations, rewards, constraints, declarations or
observations, and it is compiled. What a model says of itself (accounts, identities, invariants), its training and its
verification stay as they are. Changes that leave the IR as it was are not counted. `caught` is an error, `warned` at
least a warning, where the shipped models give none.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import CompileError, Diagnostics, Source, Span
from rbcc.compiler.driver import Compiled, compile_spec
from rbcc.compiler.source import Scalar, shipped_models


Random = random.Random
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Mutant:
    """A changed spec, with what was changed in it in words."""

    kind: str
    words: str
    plain: dict[str, Any]


class Subject:
    """A model to be changed: its resolved spec, its IR, and the expressions in it."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        compiled = compile_spec(name)
        self.model = compiled.model
        self.plain: dict[str, Any] = {k: v for k, v in compiled.document.plain.items() if k != "extends"}  # type: ignore[union-attr]
        self.bare = bare(self.compile(self.plain).model)
        assert self.bare == bare(self.model), f"{name}: the resolved spec is another model"
        self.symbols = {
            s.name.rpartition(".")[2]: s for s in self.model.symbols if not s.name.endswith(("'", "reward"))
        }
        self.indices = tuple(index for index, _ in self.model.indices)

    def compile(self, plain: dict[str, Any]) -> Compiled:
        path = self.folder / f"{self.model.name}.yaml"
        path.write_text(
            yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        return compile_spec(path)

    # --- what can be changed -----------------------------------------------------------------------------------

    def leaves(self) -> Iterator[tuple[Path_, Any]]:
        """All single values in the parts of the spec that are changed."""
        for key in ("horizon", "discount", "parameters", "state", "public", "agents", "equations"):
            yield from _leaves(self.plain.get(key), (key,))

    def equations(self) -> Iterator[tuple[Path_, syntax.Equation]]:
        for group, text in self.plain["equations"].items():
            for equation in syntax.parse_equations(_scalar(text), Diagnostics())[0]:
                yield ("equations", group), equation

    def expressions(self) -> Iterator[tuple[Path_, syntax.Expression]]:
        """The equations' right sides, rewards, constraints, values of parameters, starts of states."""
        for path, equation in self.equations():
            yield path, equation.expression
        for path, value in self.leaves():
            named = path[-1] in ("value", "start", "violation", "reward") or (path[-2:-1] == ("parameters",))
            if isinstance(value, str) and named and "observes" not in path:
                node = syntax.parse_expression(_scalar(value), Diagnostics())
                assert node is not None, value
                yield path, node

    def nodes(self) -> Iterator[tuple[Path_, syntax.Expression]]:
        for path, root in self.expressions():
            yield from ((path, node) for node in _walk(root))

    def text(self, path: Path_) -> str:
        return str(_at(self.plain, path))

    # --- changing it -------------------------------------------------------------------------------------------

    def edited(self, kind: str, path: Path_, start: int, end: int, new: str) -> Mutant:
        """The spec with `start:end` of the text at `path` replaced."""
        old = self.text(path)
        line = old[old.rfind("\n", 0, start) + 1 : old.find("\n", end) if "\n" in old[end:] else len(old)]
        return self.replaced(
            kind, path, old[:start] + new + old[end:], f"{old[start:end]!r} -> {new!r} in {_short(line)!r}"
        )

    def replaced(self, kind: str, path: Path_, new: Any, words: str) -> Mutant:
        plain = deepcopy(self.plain)
        _at(plain, path[:-1])[path[-1]] = new
        return Mutant(kind, f"{'.'.join(map(str, path))}: {words}", plain)

    def removed(self, kind: str, path: Path_) -> Mutant:
        plain = deepcopy(self.plain)
        words = f"{'.'.join(map(str, path))}: {_short(str(_at(plain, path)))!r} removed"
        del _at(plain, path[:-1])[path[-1]]
        return Mutant(kind, words, plain)


def bare(model: ir.Model) -> Any:
    """The IR as data, without the places, texts and words that do not change what the model does."""

    def without(data: Any) -> Any:
        if isinstance(data, list):
            return [without(item) for item in data]
        if isinstance(data, dict):
            return {k: without(v) for k, v in data.items() if k not in ("place", "text", "doc", "digest", "files")}
        return data

    return without(ir.to_json(model))


# --- kinds of changes: each gives all changes of its kind, with what is open drawn at random -----------------------


def rename(random: Random, subject: Subject) -> Iterator[Mutant]:
    """A name for any other."""
    for path, node in _references(subject):
        other = random.choice([name for name in subject.symbols if name != node.name])
        yield subject.edited("rename", path, node.name_span.start, node.name_span.end, other)


def like_name(random: Random, subject: Subject) -> Iterator[Mutant]:
    """A name for another one with the same unit and indices, such as sold and exported."""
    for path, node in _references(subject):
        own = subject.symbols[node.name]
        alike = [
            name for name, s in subject.symbols.items()
            if name != node.name and (s.sets, s.type.unit, s.type.kind) == (own.sets, own.type.unit, own.type.kind)
        ]  # fmt: skip
        if alike:
            yield subject.edited("like name", path, node.name_span.start, node.name_span.end, random.choice(alike))


def index(random: Random, subject: Subject) -> Iterator[Mutant]:
    """An index for another, on either side or under a sum; two exchanged."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Reference) and node.indices is None and node.name in subject.indices:
            other = random.choice([index for index in subject.indices if index != node.name] or ["k"])
            yield subject.edited("index", path, node.span.start, node.span.end, other)
        if isinstance(node, syntax.Reference) and node.indices and len(node.indices) == 2:
            first, second = (subject.text(path)[i.span.start : i.span.end] for i in node.indices)
            yield subject.edited(
                "index", path, node.indices[0].span.start, node.indices[1].span.end, f"{second},{first}"
            )
    for path, equation in subject.equations():
        for name, span in zip(equation.target.indices, equation.target.index_spans, strict=True):
            other = random.choice([index for index in subject.indices if index != name] or ["k"])
            yield subject.edited("index", path, span.start, span.end, other)


def drop_term(_: Random, subject: Subject) -> Iterator[Mutant]:
    """One side of a sum or difference."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Binary) and node.operator in "+-":
            yield from _sides("drop term", subject, path, node)


def drop_factor(_: Random, subject: Subject) -> Iterator[Mutant]:
    """One side of a product, quotient or power."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Binary) and node.operator in "*/^":
            yield from _sides("drop factor", subject, path, node)


def _sides(kind: str, subject: Subject, path: Path_, node: syntax.Binary) -> Iterator[Mutant]:
    left, right = (subject.text(path)[side.span.start : side.span.end] for side in (node.left, node.right))
    lead = {"-": "-", "/": "1 / "}.get(node.operator, "")
    yield subject.edited(kind, path, node.span.start, node.span.end, left)
    yield subject.edited(kind, path, node.span.start, node.span.end, lead + right)


def sign(_: Random, subject: Subject) -> Iterator[Mutant]:
    """+ for -, and the other way round."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Binary) and node.operator in "+-":
            yield _with_operator("sign", subject, path, node, "-" if node.operator == "+" else "+")
        if isinstance(node, syntax.Unary) and node.operator == "-":
            yield subject.edited("sign", path, node.span.start, node.operand.span.start, "")


def operator(random: Random, subject: Subject) -> Iterator[Mutant]:
    """An operator of arithmetic or logic for another of a different kind."""
    others = {"+": "*/", "-": "*/", "*": "+-/", "/": "+-*", "^": "*/+", "and": ["or"], "or": ["and"]}
    for path, node in subject.nodes():
        if isinstance(node, syntax.Binary):
            yield _with_operator("operator", subject, path, node, random.choice(others[node.operator]))


def comparison(random: Random, subject: Subject) -> Iterator[Mutant]:
    signs = ("==", "!=", "<", "<=", ">", ">=")
    for path, node in subject.nodes():
        if isinstance(node, syntax.Comparison):
            other = random.choice([sign for sign in signs if sign != node.operator])
            yield _with_operator("comparison", subject, path, node, other)


def _with_operator(
    kind: str, subject: Subject, path: Path_, node: syntax.Binary | syntax.Comparison, new: str
) -> Mutant:
    start = subject.text(path).index(node.operator, node.left.span.end)
    return subject.edited(kind, path, start, start + len(node.operator), new)


def function(random: Random, subject: Subject) -> Iterator[Mutant]:
    """A function or reduction for another that takes the same arguments."""
    families = (
        ("sum", "mean", "max", "min", "product", "median", "gini"),
        ("quantile", "top_share"),
        ("argmax", "argmin"),
        ("max", "min"),
        ("crra", "cara"),
        ("exp", "log", "sqrt", "abs", "floor"),
    )
    for path, node in subject.nodes():
        if isinstance(node, syntax.Call):
            alike = [family for family in families if node.function in family]
            over = bool(node.arguments) and isinstance(node.arguments[0].value, syntax.Reference)
            family = alike[0 if over else -1] if alike else ()
            for other in random.sample([f for f in family if f != node.function], min(1, max(0, len(family) - 1))):
                yield subject.edited("function", path, node.name_span.start, node.name_span.end, other)


def condition(_: Random, subject: Subject) -> Iterator[Mutant]:
    """A branch that is always taken, branches exchanged, a `where` lost."""
    for path, node in subject.nodes():
        text = subject.text(path)
        if isinstance(node, syntax.Conditional):
            then, otherwise = (text[n.span.start : n.span.end] for n in (node.then, node.otherwise))
            test = text[node.condition.span.start : node.condition.span.end]
            for new in (then, otherwise, f"{otherwise} if {test} else {then}"):
                yield subject.edited("condition", path, node.span.start, node.span.end, new)
        for argument in node.arguments if isinstance(node, syntax.Call) else ():
            if argument.where is not None:
                yield subject.edited("condition", path, argument.value.span.end, argument.where.span.end, "")


def number(random: Random, subject: Subject) -> Iterator[Mutant]:
    """A written number for another."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Number):
            value = float(node.value)
            new = random.choice([v for v in (value * 2, value + 1, value / 10, 0.0, 1.0) if v != value])
            yield subject.edited("number", path, node.span.start, node.span.end, f"{new:g}")
    for path, value in subject.leaves():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            new = random.choice([v for v in (value * 2, value + 1, -value, 0, 1) if v != value])
            yield subject.replaced("number", path, new, f"{value} -> {new}")


def unit(random: Random, subject: Subject) -> Iterator[Mutant]:
    """A declared unit for another, or for none."""
    found = [path for path, _ in subject.leaves() if path[-1] == "unit"]
    known = sorted({subject.text(path) for path in found})
    for path in found:
        old = subject.text(path)
        new = random.choice([u for u in (*known, "") if u != old])
        yield subject.replaced("unit", path, new, f"{old} -> {new}") if new else subject.removed("unit", path)
    for path, equation in subject.equations():
        others = [unit for unit in known if unit != str(equation.unit)]
        if equation.unit_span and others:
            new = random.choice(others)
            yield subject.edited("unit", path, equation.unit_span.start, equation.unit_span.end, new)


def drop_equation(_: Random, subject: Subject) -> Iterator[Mutant]:
    for path, equation in subject.equations():
        yield subject.edited("drop equation", path, equation.target.span.start, equation.expression.span.end, "# none")


def prime(_: Random, subject: Subject) -> Iterator[Mutant]:
    """A prime lost or added, on either side."""
    for path, node in _references(subject):
        at = node.name_span.end
        yield subject.edited("prime", path, at, at + node.primed, "" if node.primed else "'")
    for path, equation in subject.equations():
        at = equation.target.span.start + len(equation.target.name)
        yield subject.edited("prime", path, at, at + equation.target.primed, "" if equation.target.primed else "'")


def drop_observation(_: Random, subject: Subject) -> Iterator[Mutant]:
    tables: list[Path_] = [("public",), *(("agents", owner, "observes") for owner in subject.plain["agents"])]
    for path in tables:
        listed = (
            subject.plain.get("public", [])
            if path == ("public",)
            else _at(subject.plain, path[:-1]).get("observes", [])
        )
        for position in range(len(listed)):
            yield subject.removed("drop observation", (*path, position))


def drop_declaration(_: Random, subject: Subject) -> Iterator[Mutant]:
    """A parameter, state, choice, reward or constraint."""
    tables: list[Path_] = [("parameters",), ("state",)]
    for owner, agent in subject.plain["agents"].items():
        tables += [("agents", owner, key) for key in ("parameters", "state", "actions", "constraints")]
        if "reward" in agent:
            yield subject.removed("drop declaration", ("agents", owner, "reward"))
    for path in tables:
        table = _at(subject.plain, path[:-1]).get(path[-1], {})
        yield from (subject.removed("drop declaration", (*path, name)) for name in table)


KINDS: tuple[Callable[[Random, Subject], Iterator[Mutant]], ...] = (
    rename, like_name, index, drop_term, drop_factor, sign, operator, comparison, function, condition, number, unit,
    drop_equation, prime, drop_observation, drop_declaration,
)  # fmt: skip


def budget_terms(subject: Subject) -> Iterator[Mutant]:
    """Every term of every budget, dropped.

    A budget is the equation of the next value of a stock in an account, and that of each value that a budget adds up,
    also as a factor or under a sum over agents; not what stands in a function or a condition.
    """
    equations = {e.target.name + "'" * e.target.primed: (path, e.expression) for path, e in subject.equations()}
    held = {name for account in subject.model.accounts for stock in account.stocks for name in ir.references(stock)}
    pending = [f"{name.rpartition('.')[2]}'" for name in sorted(held)]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name not in equations:
            continue
        seen.add(name)
        path, root = equations[name]
        for node in _added(root):
            if isinstance(node, syntax.Binary) and node.operator in "+-":
                yield from _sides("drop term", subject, path, node)
            if isinstance(node, syntax.Reference):
                pending.append(node.name + "'" * node.primed)


def _added(node: syntax.Expression) -> Iterator[syntax.Expression]:
    """A node and what it adds up or multiplies."""
    yield node
    match node:
        case syntax.Binary("+" | "-" | "*" | "/"):
            yield from _added(node.left)
            yield from _added(node.right)
        case syntax.Unary("-"):
            yield from _added(node.operand)
        case syntax.Call("sum"):
            yield from _added(node.arguments[-1].value)


# --- pieces --------------------------------------------------------------------------------------------------------


def _scalar(text: str) -> Scalar:
    return Scalar(text, text, Span(Source("spec", text), 0, len(text)))


def _short(text: str) -> str:
    return " ".join(text.split("#")[0].split())[:100]


def _at(node: Any, path: Path_) -> Any:
    for part in path:
        node = node[part]
    return node


def _leaves(node: Any, path: Path_) -> Iterator[tuple[Path_, Any]]:
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(node, list):
        for position, inner in enumerate(node):
            yield from _leaves(inner, (*path, position))
    elif node is not None:
        yield path, node


def _walk(node: syntax.Expression) -> Iterator[syntax.Expression]:
    yield node
    for child in syntax.children(node):
        yield from _walk(child)


def _references(subject: Subject) -> Iterator[tuple[Path_, syntax.Reference]]:
    """References to symbols of the model."""
    for path, node in subject.nodes():
        if isinstance(node, syntax.Reference) and node.name in subject.symbols and node.owner is None:
            yield path, node


# --- trying them ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What became of a mutant: "caught", "warned", "survived" compiling; what `rbcc check` then found."""

    mutant: Mutant
    verdict: str
    code: str
    compiled: Compiled | None = None
    checked: str = ""


def tried(subject: Subject, mutant: Mutant) -> Result | None:
    """What compiling says of a mutant; None if it is the same model."""
    try:
        compiled = subject.compile(mutant.plain)
    except CompileError as error:
        first = next(d for d in error.diagnostics if d.severity == "error")
        return Result(mutant, "caught", first.code)
    if bare(compiled.model) == subject.bare:
        return None
    if compiled.warnings:
        return Result(mutant, "warned", compiled.warnings[0].code, compiled)
    return Result(mutant, "survived", "", compiled)


def mutants(subject: Subject, edits: int, seed: int) -> list[Result]:
    """So many different changes, all kinds alike often as far as they reach, with what compiling says of them."""
    random = Random(f"{seed}:{subject.name}")
    pools = [list(kind(random, subject)) for kind in KINDS]
    for pool in pools:
        random.shuffle(pool)
    found: dict[str, Result] = {}
    while len(found) < edits and any(pools):
        pool = random.choice([pool for pool in pools if pool])
        mutant = pool.pop()
        key = json.dumps(mutant.plain)
        if key not in found and (result := tried(subject, mutant)):
            found[key] = result
    return list(found.values())


def checked(result: Result, seed: int) -> str:
    """What the random tests of `rbcc check` find in a mutant that compiles: a failure's first words, or nothing."""
    import jax

    from rbcc.runtime.economy.model import Model
    from rbcc.runtime.validation.property_testing import try_out

    assert result.compiled is not None
    failures = try_out(Model(result.compiled), seed).failures
    jax.clear_caches()
    return str(failures[0]).splitlines()[0] if failures else ""


def budgets(models: list[str], seed: int) -> int:
    """Drops every term of every budget and prints what that is noticed by; 1 if any is not, else 0."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            subject = Subject(name, Path(folder))
            results = [result for mutant in budget_terms(subject) if (result := tried(subject, mutant))]
            counts: Counter[str] = Counter()
            for result in results:
                found = result.code if result.verdict == "caught" else f"test: {checked(result, seed)}"
                counts[found.split()[0] if found != "test: " else "missed"] += 1
                print(f"{name}: {result.mutant.words}: {found}")
            missed += counts["missed"]
            print(
                f"{name}: {len(results)} terms dropped: {', '.join(f'{k} {n}' for k, n in counts.items())}\n",
                flush=True,
            )
    return 1 if missed else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=sorted(path.stem for path in shipped_models().glob("*.yaml")))
    parser.add_argument("--edits", type=int, default=300, help="for each model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", type=int, default=0, help="run the random tests on so many survivors of each model")
    parser.add_argument("--survivors", action="store_true", help="list what is not caught")
    parser.add_argument("--budgets", action="store_true", help="drop every term of every budget, and nothing else")
    options = parser.parse_args()
    begin = time.process_time()
    if options.budgets:
        sys.exit(budgets(options.models, options.seed))
    table: dict[str, Counter[str]] = defaultdict(Counter)
    by_model: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            subject = Subject(name, Path(folder))
            results = mutants(subject, options.edits, options.seed)
            alive = [r for r in results if r.compiled is not None]
            sample = Random(options.seed).sample(alive, min(options.check, len(alive)))
            for result in results:
                found = checked(result, options.seed) if any(result is r for r in sample) else ""
                for counts in (table[result.mutant.kind], by_model[name]):
                    counts["all"] += 1
                    counts[result.verdict] += 1
                    counts["sampled"] += any(result is r for r in sample)
                    counts["checked"] += bool(found)
                if options.survivors and result.verdict != "caught":
                    print(
                        f"{name}: {result.mutant.kind}: {result.verdict} {result.code}: {result.mutant.words} {found}",
                        flush=True,
                    )
    for rows in (table, by_model):
        print(f"\n{'':<28}{'edits':>7}{'caught':>9}{'warned':>9}{'neither':>9}{'tested':>9}{'found':>7}")
        total: Counter[str] = sum(rows.values(), Counter())
        for name, c in [*rows.items(), ("all", total)]:
            shares = "".join(f"{c[key] / c['all']:>9.1%}" for key in ("caught", "warned", "survived"))
            print(f"{name:<28}{c['all']:>7}{shares}{c['sampled']:>9}{c['checked']:>7}")
    print(f"\n{time.process_time() - begin:.0f} s of processor time")


if __name__ == "__main__":
    main()
