"""What can be written next."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Source
from rbcc.compiler.infer import DISTRIBUTIONS, REDUCTIONS, Names, Scope
from rbcc.compiler.mention import What
from rbcc.compiler.source import KeyPath, Mapping, shipped_models
from rbcc.compiler.spec import Expression, alternatives, form_at, keys_at
from rbcc.compiler.types import Kind, Role, Time
from rbcc.editor import words
from rbcc.editor.navigate import scope_at
from rbcc.editor.place import Place, place_at
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
    text, known = source.text, known.known
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    place = place_at(text, offset)
    if line.lstrip().startswith("#") or (" #" in line and " #" in place.before.rpartition("\n")[2]):
        return []
    if place.is_key:
        rest = text[offset:].partition("\n")[0]
        tree = tree_of(source) or known.tree
        return list(_keys(place, known, tree, "" if rest.lstrip().startswith(":") else ": "))
    return list(dict.fromkeys(_values(place, known, workspace)))


# --- keys ----------------------------------------------------------------------------------------------------------


def _keys(place: Place, known: Analysis, tree: Mapping | None, colon: str) -> Iterator[Offer]:
    """The keys of the language, of specs that are extended, and names of the model that can be keys here."""
    length = len(place.before)
    own = entry_at(tree, place.path) if tree is not None and place.path else None
    table = own.node if own is not None else tree if not place.path else None
    given = set(table.entries) if isinstance(table, Mapping) else set()
    for key in keys_at(place.path).values():
        if key.name not in given:
            detail = words.form_words(key.form) + (", must be given" if key.required else "")
            yield Offer(
                key.name, "key", key.name + colon, length, detail, words.key_text(key), 0 if key.required else 1
            )
    for name, detail in {**_inherited(place.path, known), **_named_keys(place.path, known)}.items():
        if name not in given:
            yield Offer(name, "name", name + colon, length, detail)


def _inherited(path: KeyPath, known: Analysis) -> dict[str, str]:
    """The keys at `path` of the specs that this one extends, which it could override."""
    found: dict[str, str] = {}
    for source in known.sources[1:]:
        tree = tree_of(source)
        entry = entry_at(tree, path) if tree is not None and path else None
        if entry is not None and isinstance(entry.node, Mapping) and not keys_at(path):
            found |= {key: f"overrides {source.name.rpartition('/')[2]}" for key in entry.node.entries}
    return found


def _named_keys(path: KeyPath, known: Analysis) -> dict[str, str]:
    """Names of the model that are keys of training and verification."""
    names, model = known.names, known.reading.context
    if names is None or model is None or not path:
        return {}
    symbols = names.symbols.values()
    if path == ("training",) or (path[:2] == ("training", "phases") and len(path) == 3):
        return {name: "agent type" for name, agent in model.spec.agents.items() if agent.actions}
    if path[-1] == "anneal":
        fit = [s for s in symbols if s.role is Role.ACTION or (s.role is Role.PARAMETER and not s.sets)]
        return {s.name: str(s.role) for s in fit if s.type.kind is not Kind.CHOICE}
    if path == ("verify", "shutdown"):
        return {s.name: str(s.role) for s in symbols if s.role is Role.ACTION}
    if path[-1] == "lagrangian":
        return {short(m.name): "constraint" for m in known.mentions if m.what is What.CONSTRAINT and m.extent}
    return {}


# --- values --------------------------------------------------------------------------------------------------------


def _values(place: Place, known: Analysis, workspace: Workspace) -> Iterator[Offer]:
    path, names = place.path, known.names
    last = path[-1]
    if path[0] in ("extends", "use"):
        yield from _files(place, known, workspace)
    for option in (
        value for one in alternatives(form_at(path)) if get_origin(one) is Literal for value in get_args(one)
    ):
        yield Offer(str(option), "option", str(option), len(place.before))
    if names is None:
        return
    if last in ("over", "choose"):
        yield from (_agent(a, _typed(place.before)) for a in names.agents.values() if a.indices)
    elif last == "unit":
        yield from _units(known, _typed(place.before))
    elif path[-2:-1] == ("joint",):
        actions = [s for s in names.symbols.values() if s.role is Role.ACTION and s.owner in path]
        yield from (_symbol(s, short(s.name), _typed(place.before)) for s in actions if len(s.sets) < 2)
    elif path[0] == "equations":
        yield from _equation(place, known, names)
    else:
        scope = scope_at(known, path) if Expression in alternatives(form_at(expression_path(path))) else None
        if scope is not None:
            yield from _expression(place.before, scope, names)
            if "observes" in path:
                yield Offer("public", "word", "public", _typed(place.before), "what all see")


def _files(place: Place, known: Analysis, workspace: Workspace) -> Iterator[Offer]:
    ending = ".yaml" if place.path[0] == "extends" else ".py"
    folder, length = known.path.parent, len(place.before)
    beside = folder.glob(f"*{ending}") if folder.is_dir() else []
    for name in sorted({file.name for file in (*beside, *workspace.texts) if file.parent == folder}):
        if name.endswith(ending) and name != known.path.name:
            yield Offer(name, "file", name, length)
    if place.path[0] == "extends":
        for file in sorted(shipped_models().glob("*.yaml")):
            yield Offer(file.stem, "file", file.stem, length, "ships with rbcc", rank=1)


def _units(known: Analysis, length: int) -> Iterator[Offer]:
    context = known.reading.context
    for unit in [*(context.spec.units if context is not None else ()), "util"]:
        yield Offer(unit, What.UNIT, unit, length, "unit")


def _equation(place: Place, known: Analysis, names: Names) -> Iterator[Offer]:
    """Within a group of equations: what can be defined, on the left; what can be used, on the right."""
    *_, (_, statement, _) = syntax.statements(place.before + "\0")  # the sign makes an empty last line one too
    statement = statement.removesuffix("\0")
    length = _typed(statement)
    if _ASSIGNED.search(statement):
        right = statement[_ASSIGNED.search(statement).end() :]  # type: ignore[union-attr]
        scope = Scope("an equation", tuple(names.indices), draws=True)
        yield from _expression(right, scope, names)
    elif "[" in statement and "]" not in statement:
        yield from (_index(index, length, names) for index in names.indices)
    elif ":" in statement:
        yield from _units(known, length)
    else:
        defined = {m.name for m in known.mentions if m.extent is not None and m.what is What.SYMBOL}
        for symbol in names.symbols.values():
            if symbol.name.endswith("'"):
                written, has = words.target(symbol), symbol.name in defined
                detail = "has an equation" if has else "has no equation yet"
                yield Offer(written, symbol.role, written, length, detail, rank=int(has))


def _expression(before: str, scope: Scope, names: Names) -> Iterator[Offer]:
    """What can stand at the end of a half-written expression."""
    length = _typed(before)
    owner = _OWNER.search(before)
    if owner is not None:
        fit = [s for s in names.symbols.values() if s.owner == owner[1] and _known_in(s, scope)]
        yield from (_symbol(s, _word(s), length) for s in fit)
        return
    indexed = _indexed(before)
    if indexed is not None:
        name, position = indexed
        found = names.candidates(name)
        sets = {s.sets[position] for s in found if position < len(s.sets)}
        yield from (_index(i, length, names, scope) for i, agent in names.indices.items() if agent in sets)
        choices = [s for s in names.symbols.values() if s.type.kind is Kind.CHOICE and s.type.of in sets]
        yield from (_symbol(s, _visible(s, scope, names), length) for s in choices if _known_in(s, scope))
        return
    yield from _local(scope, length)
    for symbol in names.symbols.values():
        if _known_in(symbol, scope):
            yield _symbol(symbol, _visible(symbol, scope, names), length)
    yield from (_index(index, length, names, scope) for index in names.indices)
    yield from (_agent(agent, length) for agent in names.agents.values())
    yield from _functions(scope, length, names)
    yield from (Offer(word, "word", word, length, rank=3) for word in _WORDS)
    yield Offer("horizon", "word", "horizon", length, "steps in an episode", rank=2)


def _local(scope: Scope, length: int) -> Iterator[Offer]:
    for name, symbol in scope.local.items():
        yield Offer(name, symbol.role, name, length, words.CLOCKS.get(symbol.name, symbol.name[1:].partition(".")[0]))


def _functions(scope: Scope, length: int, names: Names) -> Iterator[Offer]:
    offered = [*REDUCTIONS, *(DISTRIBUTIONS if scope.draws else ()), *(["since"] if scope.since is not None else [])]
    for name in dict.fromkeys([*offered, *names.primitives]):
        shown = words.BUILT_IN[name][0] if name in offered else words.call_of(names.primitives[name])
        yield Offer(name, What.FUNCTION, name, length, shown, words.describe_function(name, names) or "", 2)


def _known_in(symbol: ir.Symbol, scope: Scope) -> bool:
    """Whether a symbol is known where the expression stands; next values only where nothing later is."""
    late = symbol.name.endswith("'") and scope.latest is not Time.NEXT
    return (
        symbol.type.time <= scope.latest and not late and (symbol.role is not Role.CLOCK or scope.latest > Time.FIXED)
    )


def _visible(symbol: ir.Symbol, scope: Scope, names: Names) -> str:
    """How a symbol is written in an expression: with its type where the name alone would mean another."""
    word = _word(symbol)
    first = f"{scope.home}.{word}" if scope.home and f"{scope.home}.{word}" in names.symbols else None
    alone = first == symbol.name or (first is None and len(names.candidates(word)) == 1 and word not in scope.local)
    return word if alone or symbol.owner is None else f"{symbol.owner}.{word}"


def _word(symbol: ir.Symbol) -> str:
    return symbol.name.rpartition(".")[2]


def _symbol(symbol: ir.Symbol, text: str, length: int) -> Offer:
    owner = f" of {symbol.owner}" if symbol.owner else ""
    detail = f"{words.signature(symbol)} ({symbol.role}{owner})"
    return Offer(text, symbol.role, text, length, detail, symbol.doc or "", 1 if symbol.name.endswith("'") else 0)


def _index(index: str, length: int, names: Names, scope: Scope | None = None) -> Offer:
    bound = scope is None or index in scope.bound
    return Offer(index, What.INDEX, index, length, f"index of {names.indices[index]}", rank=0 if bound else 1)


def _agent(agent: ir.Agent, length: int) -> Offer:
    return Offer(agent.name, What.AGENT, agent.name, length, f"agent type, {agent.count}", agent.doc or "", 1)


def _typed(before: str) -> int:
    """How much of a name stands before the cursor."""
    found = _PART.search(before)
    return len(found.group()) if found else 0


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
