"""What can be written next."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Source
from rbcc.compiler.ir.types import Kind, Role, Time
from rbcc.compiler.schema.introspection import alternatives, form_at, keys_at
from rbcc.compiler.schema.spec import Expression
from rbcc.compiler.semantics.distributions import DISTRIBUTIONS
from rbcc.compiler.semantics.expressions import Names, Scope
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.source import Mapping, shipped_models
from rbcc.editor import descriptions
from rbcc.editor.cursor import Place, place_at
from rbcc.editor.navigate import scope_at
from rbcc.editor.workspace import Analysis, Workspace, entry_at, expression_path, short, tree_of


_OWNER = re.compile(r"([^\W\d]\w*)\s*\.\s*([^\W\d]\w*)?$")
_PART = re.compile(r"[^\W\d]\w*'?$")
_ASSIGNED = re.compile(r"(?<![=<>!])=(?!=)")
_WORDS = ("if", "else", "and", "or", "not", "where", "true", "false")


@dataclass(frozen=True)
class Offer:
    """One thing that can be written: `text` in place of the `length` characters before the cursor."""

    label: str
    what: str  # a Role or a What, or: word, key, name, option, file
    text: str
    length: int
    detail: str = ""
    doc: str = ""
    rank: int = 0  # lower comes first


def complete(source: Source, offset: int, known: Analysis, workspace: Workspace) -> list[Offer]:
    """What fits at `offset`, from the names of an analysis, perhaps an older one, and the keys of specs."""
    line = source.text[source.text.rfind("\n", 0, offset) + 1 : offset]
    place = place_at(source.text, offset)
    if line.lstrip().startswith("#") or (" #" in line and " #" in place.before.rpartition("\n")[2]):
        return []
    offers = _Offers(place, known.known, workspace)
    if not place.is_key:
        return list(dict.fromkeys(offers.values()))
    if re.match(r"\w*[ \t]*:", source.text[offset:]):  # a key that has its value is changed
        return list(offers.keys(tree_of(source), ""))
    # A key alone is not YAML: the file is read as if it had a value.
    whole = source.text[: offset - len(place.before)] + "key_in_the_making: 0" + source.text[offset:]
    return list(offers.keys(tree_of(Source(source.name, whole)), ": "))


class _Offers:
    """What can be written at a place."""

    def __init__(self, place: Place, known: Analysis, workspace: Workspace):
        self.place, self.known, self.workspace = place, known, workspace
        self.path, self.before = place.path, place.before
        self.symbols = list(known.names.symbols.values()) if known.names is not None else []

    @property
    def names(self) -> Names:
        assert self.known.names is not None
        return self.known.names

    @property
    def typed(self) -> int:
        """How much of a name stands before the cursor."""
        found = _PART.search(self.before)
        return len(found.group()) if found else 0

    # --- keys --------------------------------------------------------------------------------------------------

    def keys(self, tree: Mapping | None, colon: str) -> Iterator[Offer]:
        """The keys of the language, of specs that are extended, and names of the model that can be keys here."""
        tree, length = tree or self.known.tree, len(self.before)
        own = entry_at(tree, self.path) if tree is not None and self.path else None
        table = own.node if own is not None else tree if not self.path else None
        given = set(table.entries) if isinstance(table, Mapping) else set()
        for key in keys_at(self.path).values():
            if key.name not in given:
                detail = descriptions.form_words(key.form) + (", must be given" if key.required else "")
                rank = 0 if key.required else 1
                yield Offer(key.name, "key", key.name + colon, length, detail, descriptions.key_text(key), rank)
        for name, detail in {**self.inherited(), **self.named_keys()}.items():
            if name not in given:
                yield Offer(name, "name", name + colon, length, detail)

    def inherited(self) -> dict[str, str]:
        """The keys of this table in the specs that this one extends, which it could override."""
        found: dict[str, str] = {}
        for source in self.known.sources[1:] if self.path and not keys_at(self.path) else ():
            tree = tree_of(source)
            entry = entry_at(tree, self.path) if tree is not None else None
            if entry is not None and isinstance(entry.node, Mapping):
                found |= {key: f"overrides {Path(source.name).name}" for key in entry.node.entries}
        return found

    def named_keys(self) -> dict[str, str]:
        """Names of the model that are keys of training and verification."""
        path = self.path
        if path == ("training",) or (path[:2] == ("training", "phases") and len(path) == 3):
            return {s.owner: "agent type" for s in self.symbols if s.role is Role.ACTION and s.owner is not None}
        if path[-1:] == ("anneal",):
            fit = [s for s in self.symbols if s.role is Role.ACTION or (s.role is Role.PARAMETER and not s.sets)]
            return {s.name: str(s.role) for s in fit if s.type.kind is not Kind.CHOICE}
        if path == ("verify", "shutdown"):
            return {s.name: str(s.role) for s in self.symbols if s.role is Role.ACTION}
        if path[-1:] == ("lagrangian",):
            return {short(m.name): "constraint" for m in self.known.mentions if m.what is What.CONSTRAINT and m.extent}
        return {}

    # --- values ------------------------------------------------------------------------------------------------

    def values(self) -> Iterator[Offer]:
        path, last = self.path, self.path[-1]
        for option in (
            value for one in alternatives(form_at(path)) if get_origin(one) is Literal for value in get_args(one)
        ):
            yield Offer(str(option), "option", str(option), len(self.before))
        if path[0] in ("extends", "use"):
            yield from self.files(".yaml" if path[0] == "extends" else ".py")
        elif self.known.names is None:
            return
        elif last in ("over", "choose", "shares"):
            yield from (self.agent(agent) for agent in self.names.agents.values() if agent.indices)
        elif last == "unit":
            yield from self.units()
        elif path[-2:-1] == ("joint",):
            actions = [s for s in self.symbols if s.role is Role.ACTION and s.owner in path and len(s.sets) < 2]
            yield from (self.symbol(action, short(action.name)) for action in actions)
        elif path[0] == "equations":
            yield from self.equation()
        elif path[0] == "solve" and last == "equations":
            *_, (_, statement, _) = syntax.statements(self.before + "\0")
            yield from self.expression(statement.removesuffix("\0"), scope_at(self.known, path) or Scope("here"))
        elif Expression in alternatives(form_at(expression_path(path))):
            scope = scope_at(self.known, path)
            if scope is not None:
                yield from self.expression(self.before, scope)
                if "observes" in path:
                    yield Offer("public", "word", "public", self.typed, "what all see")

    def files(self, ending: str) -> Iterator[Offer]:
        folder, length = self.known.path.parent, len(self.before)
        beside = [*(folder.iterdir() if folder.is_dir() else ()), *self.workspace.texts]
        for name in sorted({file.name for file in beside if file.parent == folder}):
            if name.endswith(ending) and name != self.known.path.name:
                yield Offer(name, "file", name, length)
        if ending == ".yaml":
            for file in sorted(shipped_models().glob("*.yaml")):
                yield Offer(file.stem, "file", file.stem, length, "ships with rbcc", rank=1)

    def units(self) -> Iterator[Offer]:
        units = [m.name for m in self.known.mentions if m.what is What.UNIT and m.extent is not None]
        for unit in dict.fromkeys([*units, "util"]):
            yield Offer(unit, What.UNIT, unit, self.typed, "unit")

    def equation(self) -> Iterator[Offer]:
        """Within a group of equations: what can be defined, on the left; what can be used, on the right."""
        *_, (_, statement, _) = syntax.statements(self.before + "\0")  # the sign makes an empty last line one too
        statement = statement.removesuffix("\0")
        assigned = _ASSIGNED.search(statement)
        if assigned:
            yield from self.expression(statement[assigned.end() :], scope_at(self.known, self.path) or Scope("here"))
        elif "[" in statement and "]" not in statement:
            yield from (self.index(index) for index in self.names.indices)
        elif ":" in statement:
            yield from self.units()
        else:
            defined = {m.name for m in self.known.mentions if m.extent is not None and m.what is What.SYMBOL}
            for symbol in self.symbols:
                if symbol.name.endswith("'"):
                    written, has = descriptions.target(symbol), symbol.name in defined
                    detail = "has an equation" if has else "has no equation yet"
                    yield Offer(written, symbol.role, written, self.typed, detail, rank=int(has))

    # --- expressions -------------------------------------------------------------------------------------------

    def expression(self, before: str, scope: Scope) -> Iterator[Offer]:
        """What can stand at the end of a half-written expression."""
        fit = [symbol for symbol in self.symbols if _is_known(symbol, scope)]
        owner, indexed = _OWNER.search(before), _indexed(before)
        if owner is not None:
            yield from (self.symbol(s, _word(s)) for s in fit if s.owner == owner[1])
            return
        if indexed is not None:
            name, position = indexed
            sets = {s.sets[position] for s in self.names.candidates(name) if position < len(s.sets)}
            yield from (self.index(index, scope) for index, agent in self.names.indices.items() if agent in sets)
            choices = [s for s in fit if s.type.kind is Kind.CHOICE and s.type.of in sets]
            yield from (self.symbol(s, self.visible(s, scope)) for s in choices)
            return
        for name, symbol in scope.local.items():
            text = descriptions.CLOCKS.get(symbol.name, symbol.name[1:].partition(".")[0])
            yield Offer(name, symbol.role, name, self.typed, text)
        yield from (self.symbol(symbol, self.visible(symbol, scope)) for symbol in fit)
        yield from (self.index(index, scope) for index in self.names.indices)
        yield from (self.agent(agent) for agent in self.names.agents.values())
        yield from self.functions(scope)
        yield Offer("horizon", "word", "horizon", self.typed, "steps in an episode", rank=2)
        yield from (Offer(word, "word", word, self.typed, rank=3) for word in _WORDS)

    def functions(self, scope: Scope) -> Iterator[Offer]:
        since = ["since"] if scope.since is not None else []
        built_in = [*ir.REDUCTIONS, *(DISTRIBUTIONS if scope.draws else ()), *since]
        for name in dict.fromkeys([*built_in, *self.names.primitives]):
            shown = (
                descriptions.built_in(name)[0]
                if name in built_in
                else descriptions.call_of(self.names.primitives[name])
            )
            text = descriptions.describe_function(name, self.names) or ""
            yield Offer(name, What.FUNCTION, name, self.typed, shown, text, 2)

    def visible(self, symbol: ir.Symbol, scope: Scope) -> str:
        """How a symbol is written in an expression: with its type where the name alone would mean another."""
        word = _word(symbol)
        own = f"{scope.home}.{word}"
        first = own if own in self.names.symbols else None
        alone = len(self.names.candidates(word)) == 1 and word not in scope.local
        return word if first == symbol.name or (first is None and alone) or not symbol.owner else symbol.name

    def symbol(self, symbol: ir.Symbol, text: str) -> Offer:
        symbol = self.known.symbol(symbol.name) or symbol
        owner = f" of {symbol.owner}" if symbol.owner else ""
        detail = f"{descriptions.signature(symbol)} ({symbol.role}{owner})"
        return Offer(text, symbol.role, text, self.typed, detail, symbol.doc or "", int(symbol.name.endswith("'")))

    def index(self, index: str, scope: Scope | None = None) -> Offer:
        rank = 0 if scope is None or index in scope.bound else 1
        return Offer(index, What.INDEX, index, self.typed, f"index of {self.names.indices[index]}", rank=rank)

    def agent(self, agent: ir.Agent) -> Offer:
        text = f"agent type, {agent.count}"
        return Offer(agent.name, What.AGENT, agent.name, self.typed, text, agent.doc or "", 1)


def _is_known(symbol: ir.Symbol, scope: Scope) -> bool:
    """Whether a symbol is known where the expression stands; next values only where nothing is too late."""
    late = symbol.name.endswith("'") and scope.latest is not Time.NEXT
    clock = symbol.role is Role.CLOCK and scope.latest is Time.FIXED
    return symbol.type.time <= scope.latest and not late and not clock


def _word(symbol: ir.Symbol) -> str:
    return symbol.name.rpartition(".")[2]


def _indexed(before: str) -> tuple[str, int] | None:
    """The name whose brackets are open at the end of `before`, and the position of the index that comes next."""
    depth = position = 0
    for place in range(len(before) - 1, -1, -1):
        character = before[place]
        if character in ")]":
            depth += 1
        elif character in "([" and depth:
            depth -= 1
        elif character == "[":
            name = re.search(r"([^\W\d]\w*'?)\s*$", before[:place])
            return (name[1], position) if name else None
        elif character == "(":
            return None
        elif character == "," and not depth:
            position += 1
    return None
