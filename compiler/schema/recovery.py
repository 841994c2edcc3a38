"""What does not fit the keys of a spec: a message for each, and the spec without it, so that the rest is checked."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from rbcc.compiler.diagnostics import Diagnostics, Span, other_languages, suggest
from rbcc.compiler.schema.introspection import keys_at, keys_of
from rbcc.compiler.schema.spec import Agent, Spec
from rbcc.compiler.source import Document, Entry, KeyPath, Mapping, Node, Scalar, Sequence, names_in, path_like
from rbcc.compiler.syntax import left_sides


MAX_REPAIRS = 100
MANY = 3  # so many keys that do not belong to a table tell that the table is in the wrong place

# What stands in for a value that is needed and missing or wrong.
_STAND_INS = {"rbcc": 1, "model": "unnamed", "horizon": 1, "count": 1}

# Keys by which an entry of one section is known to belong to another.
_SECTIONS = {"value": "parameters", "start": "state", "choices": "actions", "choose": "actions", "shares": "actions"}

_LIKE_AN_AGENT = {"actions", "count", "reward", "index"}

_FORMS = {dict: "a table", list: "a list", type(None): "nothing"}
_WORDS = {
    "list_type": "a list",
    "tuple_type": "a list of two",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number below 2,147,483,648",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "expression": "an expression or a number",
}
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("from", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("up to", "le"),
}


class Misfits:
    """Reports what does not fit, once, and leaves it out of `document`."""

    def __init__(self, document: Document, diagnostics: Diagnostics):
        self.document, self.diagnostics = document, diagnostics
        self.touched: set[KeyPath] = set()
        self.repairs = 0
        self.unknown_overrides()

    def unknown_overrides(self) -> None:
        for override in self.document.overrides:
            if not override.known and _user_names(override.path):
                name = override.path[-1]
                table = self.document.node(override.path[:-1])
                names = [k for k in getattr(table, "entries", {}) if k != name]
                close = suggest(str(name), names)
                self.diagnostics.error(
                    "RB007",
                    f"the spec has no '{'.'.join(map(str, override.path))}'",
                    override.span,
                    expected=f"one of: {', '.join(names)}" if names else None,
                    help=f"did you mean '{close}'?" if close else "add it to the spec first",
                )

    def repair(self, problems: list[Any]) -> bool:
        """Reports `problems`, pydantic's, and takes them out; whether a spec can still be made of what is left."""
        found: dict[KeyPath, list[Any]] = {}
        for problem in problems:
            found.setdefault(_spec_path(self.document, problem), []).append(problem)
        # A value that may be a list or a table: the form that comes closest tells what is wrong, further inside.
        inner = {path[:n] for path in found for n in range(len(path))}
        found = {path: group for path, group in found.items() if path not in inner or not _form_only(group)}
        meant = {path: self.meant(path, group[0]) for path, group in found.items()}
        found = {path: group for path, group in found.items() if path not in meant.values()}
        nameless = [str(path[1]) for path in found if len(path) > 1 and path[0] == "agents"]
        nameless = [name for name in dict.fromkeys(nameless) if name in keys_of(Agent)]
        if nameless:
            self.report_nameless(nameless)
            if {"index", "count"} & set(nameless):
                return False
        for parent in [*(("agents", name) for name in nameless), *self.strangers(found, meant)]:
            found = {path: group for path, group in found.items() if path[: len(parent)] != parent}
            self.lose(parent)
        for path, group in found.items():
            # What was taken out may be missed further up, or by what belongs to it.
            if not any(path[: len(done)] == done or done[: len(path)] == path for done in self.touched):
                self.report(path, group)
        if not self.diagnostics.failed:  # whatever was thought to have been said was not
            path, group = next(iter(found.items()))
            self.diagnostics.error(
                "RB103", f"{_table_name(path)} does not fit", self.document.key(path), expected=group[0]["msg"]
            )
        self.repairs += len(found)
        if self.repairs > MAX_REPAIRS:
            return False
        # Last items of lists first: the places of the others stay the same.
        return all(self.take_out(path, found[path][0]) for path in sorted(found, key=_backwards, reverse=True))

    def strangers(self, found: dict[KeyPath, list[Any]], meant: dict[KeyPath, KeyPath | None]) -> list[KeyPath]:
        """Tables in the wrong place, as their keys tell; they are reported."""
        keys: dict[KeyPath, list[str]] = {}
        for path, group in found.items():
            if len(path) > 1 and group[0]["type"] == "extra_forbidden" and meant[path] is None:
                keys.setdefault(path[:-1], []).append(str(path[-1]))
        strangers = []
        for path, names in keys.items():
            belongs = next((_SECTIONS[name] for name in names if name in _SECTIONS), None)
            if self.is_unknown_type(path):
                self.report_unknown_type(path)
                strangers.append(path)
            elif belongs and len(path) > 1 and path[-2] in ("parameters", "state", "actions"):
                self.report_section(path, belongs)
                strangers.append(path)
            elif len(names) >= MANY:
                self.report_strangers(path, names)
                strangers.append(path)
        return strangers

    def is_unknown_type(self, path: KeyPath) -> bool:
        """Whether `path` is that of settings under `training` for something that is not an agent type."""
        place = path[:1] if len(path) == 2 else path[:2] if len(path) == 4 else ()
        known = (*keys_at(path[:-1]), *self.agent_types())
        return place in (("training",), ("training", "phases")) and path[-1] not in known

    def agent_types(self) -> list[str]:
        agents = self.document.root.entries.get("agents")
        return list(agents.node.entries) if agents and isinstance(agents.node, Mapping) else []

    def report_unknown_type(self, path: KeyPath) -> None:
        close = suggest(str(path[-1]), [*keys_at(path[:-1]), *self.agent_types()])
        self.diagnostics.error(
            "RB702",
            f"'{path[-1]}' is neither a setting nor an agent type with choices",
            self.document.key(path),
            help=f"did you mean '{close}'?" if close else f"agent types are: {', '.join(self.agent_types())}",
        )

    def report_section(self, path: KeyPath, belongs: str) -> None:
        """An entry of `parameters`, `state` or `actions` that has the form of another of the three."""
        what = {"parameters": "a parameter", "state": "a state", "actions": "a choice"}[belongs]
        self.diagnostics.missing(
            f"{path[:-1]} {belongs}",
            "RB101",
            f"'{path[-1]}' stands under '{path[-2]}', and has the keys of {what}",
            self.document.key(path),
            help=f"is the line '{belongs}:' missing above it?",
        )

    def report_nameless(self, names: list[str]) -> None:
        one = len(names) == 1
        self.diagnostics.error(
            "RB101",
            f"{_listed(names)} {'stands' if one else 'stand'} where "
            f"{'the name of an agent type is' if one else 'names of agent types are'} expected",
            self.document.key(("agents", names[0])),
            help="indent them below the name of their agent type, or is the line with that name missing?",
        )

    def report_strangers(self, path: KeyPath, names: list[str]) -> None:
        agent = set(names) <= set(keys_of(Agent)) and path[0] != "agents"
        self.diagnostics.error(
            "RB101",
            f"{_listed(names)} are not keys of {_table_name(path)}",
            self.document.key(path),
            help=f"they are keys of an agent type: is the line 'agents:' missing above '{path[-1]}'?"
            if agent
            else f"is '{path[-1]}' indented below the wrong key, or is the line missing that it belongs to?",
        )

    # --- repairs -----------------------------------------------------------------------------------------------

    def take_out(self, path: KeyPath, problem: Any) -> bool:
        if not path or path == ("agents",):
            return False
        if not self.document.has(path if problem["type"] != "missing" else path[:-1]):
            return True  # gone with what was around it
        parent, name = self.document.node(path[:-1]), path[-1]
        stand_in = name in _STAND_INS and (len(path) == 1 or (len(path) == 3 and path[0] == "agents"))
        if (meant := self.meant(path, problem)) and isinstance(parent, Mapping):
            entry = parent.entries[str(name)]
            self.put(path, None)
            self.put(meant, entry.node, entry.key)
        elif stand_in:
            span = self.document.span(path)
            value = _STAND_INS[str(name)]
            self.touched.add(path)
            self.put(path, Scalar(value, str(value), span), span)
        elif problem["type"] == "missing":
            self.lose(path[:-1])
        else:
            self.lose(path)
        return True

    def meant(self, path: KeyPath, problem: Any) -> KeyPath | None:
        """The path that an unknown key is meant to be, if that is free."""
        parent = self.document.node(path[:-1])
        if problem["type"] == "extra_forbidden" and isinstance(parent, Mapping):
            close = _nearest(str(path[-1]), keys_at(path[:-1]))
            if close is not None and close not in parent.entries:
                return (*path[:-1], close)
        return None

    def lose(self, path: KeyPath) -> None:
        """Takes out what stands at `path`; the names in it are known to be broken."""
        self.touched.add(path)
        node = self.document.node(path)
        self.diagnostics.broken |= {str(path[-1]), str(path[-1]).strip(), str(path[0]), *names_in(node)}
        if "markov" in path:  # the state has no equation either, and its start may be the chain's
            self.diagnostics.broken |= {str(path[path.index("markov") - 1]), "stationary"}
        if isinstance(node, Scalar):  # such as `cost = 2`, or equations, in place of a table
            self.diagnostics.broken.update(left_sides(node.text))
            if path[0] == "agents" and "=" in node.text:
                self.diagnostics.broken.add("equations")
        self.put(path, None)

    def put(self, path: KeyPath, node: Node | None, key: Span | None = None) -> None:
        root = _with(self.document.root, path, node, key)
        assert isinstance(root, Mapping)
        self.document = Document(root, self.document.sources, self.document.overrides)

    # --- messages ----------------------------------------------------------------------------------------------

    def report(self, path: KeyPath, problems: list[Any]) -> None:
        """One message for all that pydantic says of the value at `path`: a choice between forms gives one each."""
        problem, document = problems[0], self.document
        name = str(path[-1]) if path else "the spec"
        if problem["type"] == "extra_forbidden":
            known = list(keys_at(path[:-1]))
            self.diagnostics.error(
                "RB101",
                f"'{name}' is not a key of {_table_name(path[:-1])}",
                document.key(path),
                expected=f"one of: {', '.join(known)}",
                help=self.help_for_key(path, known),
            )
        elif problem["type"] == "missing" and isinstance(path[-1], int):
            self.diagnostics.error(
                "RB103",
                f"'{path[-2]}' has a value of the wrong form",
                document.span(path[:-1]),
                expected=_WORDS["tuple_type"],
                found=f"a list of {len(problem['input'])}",
                help=_description(path[:-1]),
            )
        elif problem["type"] == "missing" and (name in self.diagnostics.broken or self.is_misplaced(path)):
            pass  # the message about what stands in its place says it all
        elif problem["type"] == "missing":
            where = document.key(path[:-1]) if len(path) > 1 else Span(document.sources[0], 0, 0)
            self.diagnostics.error(
                "RB102",
                f"{_table_name(path[:-1])} has no '{name}'",
                where,
                help=self.help_for_missing(path, problem),
            )
        elif "[key]" in problem["loc"]:
            plain = re.sub(r"\W+", "_", name.strip()).strip("_")
            better = plain if plain.isidentifier() else f"_{plain}"
            help = f"write {better}" if better.isidentifier() and better != "_" else None
            if not name.isprintable():
                help = "it holds an invisible character that looks like a space: delete it"
            self.diagnostics.error(
                "RB103", f"'{name}' cannot be a name", document.key(path), expected=problem["msg"], help=help
            )
        elif problem["type"] == "number_trap":
            trap = problem["ctx"]
            self.diagnostics.error("RB104", trap["message"], document.span(path), help=trap["help"])
        elif len(path) == 2 and path[0] == "agents" and isinstance(problem["input"], str) and "=" in problem["input"]:
            self.diagnostics.missing(
                "equations",
                "RB103",
                f"'{name}' holds equations, and stands where an agent type is expected",
                document.key(path),
                help="is the line 'equations:' missing above it?",
            )
        else:
            value, container = problem["input"], path and isinstance(path[-1], int)
            shown = _FORMS.get(type(value), "a value")
            if value in ({}, []):
                shown = f"an empty {'table' if value == {} else 'list'}"
            elif isinstance(value, str):
                text = " ".join(value.split())
                shown = f"'{text[:60]}{'...' if len(text) > 60 else ''}'"
            elif isinstance(value, (bool, int, float)):
                shown = str(value).lower()
            self.diagnostics.error(
                "RB103",
                f"item {int(name) + 1} of '{path[-2]}' has a value of the wrong form"
                if container
                else f"'{name}' has a value of the wrong form",
                document.span(path),
                expected=" or ".join(dict.fromkeys(map(_words, problems))),
                found=problem.get("ctx", {}).get("found", shown),
                help=self.help_for_value(path, problem, value),
            )

    def is_misplaced(self, path: KeyPath) -> bool:
        """Whether agent types stand where 'agents' should, with a message of their own."""
        if path != ("agents",):
            return False
        root = self.document.root.entries
        inside = [entry for key, entry in root.items() if key not in keys_of(Spec)]
        for table in (root[key].node for key in ("parameters", "state") if key in root):
            inside += table.entries.values() if isinstance(table, Mapping) else []
        return bool(self.diagnostics.broken & _LIKE_AN_AGENT) or any(
            isinstance(entry.node, Mapping) and _LIKE_AN_AGENT & set(entry.node.entries) for entry in inside
        )

    def help_for_key(self, path: KeyPath, known: list[str]) -> str | None:
        name, node = str(path[-1]), self.document.node(path)
        if any(override.path == path for override in self.document.overrides):
            rest = _with(self.document.root, path, None, None)
            if whole := path_like(rest, [str(part) for part in path]):
                return f"did you mean '{'.'.join(map(str, whole))}'?"
        if close := _nearest(name, known):
            return f"did you mean '{close}'?"
        agent_keys = keys_of(Agent)
        at_agent = len(path) == 3 and path[0] == "agents"
        if len(path) == 1 and isinstance(node, Mapping) and _LIKE_AN_AGENT & set(node.entries):
            return "agent types stand under 'agents:', indented by two more spaces"
        if len(path) == 1 and name in agent_keys:
            return f"'{name}' is a key of an agent type: indent it below one"
        if at_agent and name in keys_of(Spec):
            return f"'{name}' is a key of the spec: indent it less"
        hint = other_languages.KEYS.get(name)
        return None if hint is None or _KEY_NAMED.fullmatch(hint) else hint

    def help_for_missing(self, path: KeyPath, problem: Any) -> str:
        name = str(path[-1])
        example = {"rbcc": "1", "model": "my_economy", "horizon": "10", "count": "10", "start": "0", "value": "0"}
        text = f"add '{name}: {example.get(name, '...')}': {_description(path)}"
        if len(path) == 1:
            misplaced = next((p for p in _paths(self.document.root) if len(p) > 1 and p[-1] == name), None)
            if misplaced is not None:
                place = self.document.key(misplaced).place
                return f"the one at {place} is indented below '{misplaced[-2]}': indent it less"
        return text

    def help_for_value(self, path: KeyPath, problem: Any, value: Any) -> str | None:
        kinds, name = problem["type"], str(path[-1]) if path else ""
        if value is None:
            return "write a value; null only removes what an extended spec has"
        if path == ("equations",) and isinstance(value, (str, list)):
            return "equations stand in groups: below 'equations:' a line 'market: |', below that the equations"
        if path == ("solve",) or (len(path) == 2 and path[0] == "solve"):
            return "below 'solve:' a name, such as 'goods market:', and below that 'unknowns:' and 'equations:'"
        if path[:1] == ("solve",) and len(path) == 3 and name == "unknowns":
            return "each unknown has a line of its own, such as 'rent: {between: [0.01, 100]}'"
        if path[:1] == ("equations",) and isinstance(value, dict):
            return f"write '{name}: |' and below it lines such as x'[j] = y[j]"
        if kinds in ("dict_type", "model_type", "model_attributes_type"):
            if isinstance(value, str) and (found := re.fullmatch(r"(\w+)\s*=\s*(.+)", value.strip())):
                return f"write {found.group(1)}: {found.group(2)}"
            if name == "choices":
                return "for example [0, 1, 2], or {from: 0, to: 10, step: 1}"
            if isinstance(value, list):
                return f"'{name}' has names in place of dashes: 'first: ...', 'second: ...'"
            if isinstance(value, str) and ":" in value:
                return "write a space after ':'"
        if kinds == "list_type" and isinstance(value, (str, int, float)):
            return f"write [{value}]"
        if kinds == "tuple_type" or (kinds == "too_long" and problem["ctx"]["field_type"] == "Tuple"):
            return _description(path)
        if kinds == "literal_error" and isinstance(value, str):
            close = suggest(value, re.findall(r"'([^']+)'", problem["ctx"]["expected"]))
            return f"did you mean '{close}'?" if close else None
        if path == ("rbcc",):
            return "this rbcc reads version 1 of the language"
        if name == "choose":
            return "name the agent type of which one is chosen; numbers to choose from are 'choices'"
        if name == "shares":
            return "name the agent type among whose members the whole is divided"
        if kinds.startswith("int_") and isinstance(value, str):
            number = re.match(r"[0-9]+(?=\s+[^\W\d])", value)
            return (
                f"write {number.group()}"
                if number
                else "write the number: sizes are not computed; '--set' changes them from outside"
            )
        return None


def _description(path: KeyPath) -> str:
    """What the key at `path` is for, in the innermost table around it."""
    around = (keys_at(path[:depth]) for depth in reversed(range(len(path))))
    key = next(filter(None, around)).get(str(path[-1]))
    return (key.description if key else None) or "it is needed"


_KEY_NAMED = re.compile(r"did you mean '(\w+)'\?")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The key of a table that an author means by `name`: what it is called elsewhere, or the nearest by its letters."""
    elsewhere = _KEY_NAMED.fullmatch(other_languages.KEYS.get(name, ""))
    return elsewhere[1] if elsewhere and elsewhere[1] in known else suggest(name, known)


def _user_names(path: KeyPath) -> bool:
    """Whether the last key of `path` is a name that the author chose rather than a key of the language."""
    tables = {
        "parameters",
        "state",
        "actions",
        "agents",
        "equations",
        "solve",
        "unknowns",
        "identities",
        "accounts",
        "sources",
        "sinks",
        "through",
        "indicators",
        "schedules",
        "phases",
    }
    return len(path) > 1 and path[-2] in tables


def _form_only(problems: list[Any]) -> bool:
    forms = ("list_type", "dict_type", "model_type", "string_type", "float_type", "expression")
    return all(problem["type"] in forms for problem in problems)


def _words(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"a number {word} {context[key]:,.15g}"
    if kind == "too_long":
        return _WORDS["tuple_type"] if context["field_type"] == "Tuple" else f"at most {context['max_length']} entries"
    if kind == "too_short":
        return f"a {'table' if context['field_type'] == 'Dictionary' else 'list'} with at least one entry"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return message.removeprefix("input should be ").removeprefix("value error, ")


def _spec_path(document: Document, problem: Any) -> KeyPath:
    """pydantic's location as keys of the document: without the tags of unions and of gathered agent types."""
    node, path = document.plain, []
    for part in problem["loc"]:
        if isinstance(node, dict) and part in node:
            node = node[part]  # type: ignore[index]
            path.append(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(part)
    if problem["type"] == "missing":
        path.append(problem["loc"][-1])
    return tuple(path)


def _backwards(path: KeyPath) -> tuple[tuple[int, int, str], ...]:
    """A key by which paths sort, items of lists by number."""
    return tuple((part, 0, "") if isinstance(part, int) else (-1, 0, part) for part in path)


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]


def _table_name(path: KeyPath) -> str:
    return f"'{'.'.join(map(str, path))}'" if path else "the spec"


def _paths(node: Node, before: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all keys."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield (*before, name)
            yield from _paths(entry.node, (*before, name))


def _with(node: Node, path: KeyPath, value: Node | None, key: Span | None) -> Node:
    """`node` with `value` at `path`, or without what is there if `value` is None."""
    name, *rest = path
    if isinstance(node, Mapping) and isinstance(name, str):
        old = node.entries.get(name)
        if rest:
            return node if old is None else _entry(node, name, _with(old.node, tuple(rest), value, key), old.key)
        if value is None:
            return Mapping({k: entry for k, entry in node.entries.items() if k != name}, node.span)
        return _entry(node, name, value, key or value.span)
    if isinstance(node, Sequence) and isinstance(name, int) and name < len(node.items):
        changed = [_with(node.items[name], tuple(rest), value, key)] if rest else []
        return Sequence((*node.items[:name], *changed, *node.items[name + 1 :]), node.span)
    return node


def _entry(table: Mapping, name: str, node: Node, key: Span) -> Mapping:
    return Mapping({**table.entries, name: Entry(key, node)}, table.span)
