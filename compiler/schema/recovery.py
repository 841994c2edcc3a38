"""What does not fit the keys of a spec: a message for each, and the spec without it, so that the rest is checked."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from rbcc.compiler.diagnostics import Diagnostics, Span, messages, other_languages, suggest
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean, meant
from rbcc.compiler.schema.introspection import form_at, is_tagged, keys_at, keys_of
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

# Where pydantic's problems of this type hold the bound.
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}


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
                known = [key for key in getattr(table, "entries", {}) if key != name]
                path = ".".join(map(str, override.path))
                self.diagnostics.add(messages.schema.unknown_override(path, str(name), override.span, known))

    def repair(self, problems: list[Any]) -> bool:
        """Reports `problems`, pydantic's, and takes them out; whether a spec can still be made of what is left."""
        misfits: dict[KeyPath, list[Any]] = {}
        for problem in problems:
            misfits.setdefault(_spec_path(self.document, problem), []).append(problem)
        # A value that may be a list or a table: the form that comes closest tells what is wrong, further inside.
        inner = {path[:n] for path in misfits for n in range(len(path))}
        misfits = {path: group for path, group in misfits.items() if path not in inner or not _form_only(group)}
        meant = {path: self.meant(path, group[0]) for path, group in misfits.items()}
        misfits = {path: group for path, group in misfits.items() if path not in meant.values()}
        nameless = [str(path[1]) for path in misfits if len(path) > 1 and path[0] == "agents"]
        nameless = [name for name in dict.fromkeys(nameless) if name in keys_of(Agent)]
        if nameless:
            self.diagnostics.add(
                messages.schema.agents_without_name(nameless, self.document.key(("agents", nameless[0])))
            )
            if {"index", "count"} & set(nameless):
                return False
        for parent in [*(("agents", name) for name in nameless), *self.strangers(misfits, meant)]:
            misfits = {path: group for path, group in misfits.items() if path[: len(parent)] != parent}
            self.lose(parent)
        for path, group in misfits.items():
            # What was taken out may be missed further up, or by what belongs to it.
            if not any(path[: len(done)] == done or done[: len(path)] == path for done in self.touched):
                self.report(path, group)
        if not self.diagnostics.failed:  # whatever was thought to have been said was not
            path, group = next(iter(misfits.items()))
            self.diagnostics.add(
                messages.schema.does_not_fit(_table_name(path), self.document.key(path), group[0]["msg"])
            )
        self.repairs += len(misfits)
        if self.repairs > MAX_REPAIRS:
            return False
        # Last items of lists first: the places of the others stay the same.
        return all(self.take_out(path, misfits[path][0]) for path in sorted(misfits, key=_backwards, reverse=True))

    def strangers(self, misfits: dict[KeyPath, list[Any]], meant: dict[KeyPath, KeyPath | None]) -> list[KeyPath]:
        """Tables in the wrong place, as their keys tell; they are reported."""
        keys: dict[KeyPath, list[str]] = {}
        for path, group in misfits.items():
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
        settings, types = keys_at(path[:-1]), self.agent_types()
        self.diagnostics.add(messages.training.no_setting(str(path[-1]), self.document.key(path), settings, types))

    def report_section(self, path: KeyPath, belongs: str) -> None:
        """An entry of `parameters`, `state` or `actions` that has the form of another of the three."""
        name, section = str(path[-1]), str(path[-2])
        finding = messages.schema.entry_of_another_section(name, section, belongs, self.document.key(path))
        self.diagnostics.add_missing(f"{path[:-1]} {belongs}", finding)

    def report_strangers(self, path: KeyPath, names: list[str]) -> None:
        agent = set(names) <= set(keys_of(Agent)) and path[0] != "agents"
        table, span = _table_name(path), self.document.key(path)
        self.diagnostics.add(messages.schema.misplaced_table(names, table, str(path[-1]), agent, span))

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
            known, help = list(keys_at(path[:-1])), self.help_for_key(path)
            self.diagnostics.add(
                messages.schema.unknown_key(name, _table_name(path[:-1]), document.key(path), known, help)
            )
        elif problem["type"] == "missing" and isinstance(path[-1], int):
            length, help = len(problem["input"]), _description(path[:-1])
            subject, span = f"'{path[-2]}'", document.span(path[:-1])
            self.diagnostics.add(
                messages.schema.wrong_form(subject, span, messages.schema.PAIR, f"a list of {length}", help)
            )
        elif problem["type"] == "missing" and (name in self.diagnostics.broken or self.is_misplaced(path)):
            pass  # the message about what stands in its place says it all
        elif problem["type"] == "missing":
            span = document.key(path[:-1]) if len(path) > 1 else Span(document.sources[0], 0, 0)
            help = self.help_for_missing(path)
            self.diagnostics.add(messages.schema.missing_key(name, _table_name(path[:-1]), span, help))
        elif "[key]" in problem["loc"]:
            self.diagnostics.add(messages.schema.not_a_name(name, document.key(path), problem["msg"], _name_like(name)))
        elif problem["type"] == "number_trap":
            trap = problem["ctx"]
            self.diagnostics.add(messages.schema.number_trap(trap["message"], trap["help"], document.span(path)))
        elif len(path) == 2 and path[0] == "agents" and isinstance(problem["input"], str) and "=" in problem["input"]:
            finding = messages.schema.equations_as_agent_type(name, document.key(path))
            self.diagnostics.add_missing("equations", finding)
        else:
            value, item = problem["input"], path and isinstance(path[-1], int)
            subject = f"item {int(name) + 1} of '{path[-2]}'" if item else f"'{name}'"
            expected = " or ".join(dict.fromkeys(map(_expected, problems)))
            shown = problem.get("ctx", {}).get("found", messages.schema.shown(value))
            help = self.help_for_value(path, problem, value)
            self.diagnostics.add(messages.schema.wrong_form(subject, document.span(path), expected, shown, help))

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

    def help_for_key(self, path: KeyPath) -> str | None:
        name, node, known = str(path[-1]), self.document.node(path), keys_at(path[:-1])
        if any(override.path == path for override in self.document.overrides):
            rest = _with(self.document.root, path, None, None)
            if whole := path_like(rest, [str(key) for key in path]):
                return meant(f"'{'.'.join(map(str, whole))}'")
        if close := _nearest(name, known):
            return meant(f"'{close}'")
        agent_keys = keys_of(Agent)
        at_agent = len(path) == 3 and path[0] == "agents"
        if len(path) == 1 and isinstance(node, Mapping) and _LIKE_AN_AGENT & set(node.entries):
            return messages.schema.AGENT_TYPES_UNDER_AGENTS
        if len(path) == 1 and name in agent_keys:
            return messages.schema.key_of_an_agent_type(name)
        if at_agent and name in keys_of(Spec):
            return messages.schema.key_of_the_spec(name)
        hint = other_languages.KEYS.get(name)
        return None if hint is None or _KEY_NAMED.fullmatch(hint) else hint

    def help_for_missing(self, path: KeyPath) -> str:
        name = str(path[-1])
        if len(path) == 1:
            misplaced = next((p for p in _paths(self.document.root) if len(p) > 1 and p[-1] == name), None)
            if misplaced is not None:
                return messages.schema.indented_too_far(str(misplaced[-2]), self.document.key(misplaced))
        return messages.schema.key_to_add(name, _description(path))

    def help_for_value(self, path: KeyPath, problem: Any, value: Any) -> str | None:
        say, kind, name = messages.schema, problem["type"], str(path[-1]) if path else ""
        if value is None:
            return say.NO_VALUE
        if path == ("equations",) and isinstance(value, (str, list)):
            return say.GROUPS_OF_EQUATIONS
        if path == ("solve",) or (len(path) == 2 and path[0] == "solve"):
            return say.SYSTEMS
        if path[:1] == ("solve",) and len(path) == 3 and name == "unknowns":
            return say.UNKNOWNS
        if path[:1] == ("equations",) and isinstance(value, dict):
            return say.equations_as_table(name)
        if kind in ("dict_type", "model_type", "model_attributes_type"):
            if isinstance(value, str) and (match := re.fullmatch(r"(\w+)\s*=\s*(.+)", value.strip())):
                return say.write(f"{match[1]}: {match[2]}")
            if name == "choices":
                return say.CHOICES
            if isinstance(value, list):
                return say.names_for_dashes(name)
            if isinstance(value, str) and ":" in value:
                return say.SPACE_AFTER_COLON
        if kind == "list_type" and isinstance(value, (str, int, float)):
            return say.write(f"[{value}]")
        if kind == "tuple_type" or (kind == "too_long" and problem["ctx"]["field_type"] == "Tuple"):
            return _description(path)
        if kind == "literal_error" and isinstance(value, str):
            return did_you_mean(value, re.findall(r"'([^']+)'", problem["ctx"]["expected"]))
        if path == ("rbcc",):
            return say.VERSION
        if name == "choose":
            return say.CHOOSE
        if name == "shares":
            return say.SHARES
        if kind.startswith("int_") and isinstance(value, str):
            number = re.match(r"[0-9]+(?=\s+[^\W\d])", value)
            return say.write(number.group()) if number else say.COMPUTED_SIZE
        return None


def _name_like(text: str) -> str | None:
    """A name that can be made of `text`."""
    plain = re.sub(r"\W+", "_", text.strip()).strip("_")
    name = plain if plain.isidentifier() else f"_{plain}"
    return name if name.isidentifier() and name != "_" else None


def _description(path: KeyPath) -> str | None:
    """What the key at `path` is for, in the innermost table around it."""
    around = (keys_at(path[:depth]) for depth in reversed(range(len(path))))
    key = next(filter(None, around)).get(str(path[-1]))
    return key.description if key else None


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


def _expected(problem: Any) -> str:
    """What pydantic expected, in words."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        return messages.schema.bounded(kind, context[_BOUNDS[kind]])
    if kind == "too_long":
        pair = context["field_type"] == "Tuple"
        return messages.schema.PAIR if pair else messages.schema.at_most(context["max_length"])
    if kind == "too_short":
        return messages.schema.not_empty(table=context["field_type"] == "Dictionary")
    return messages.schema.form(kind, problem["msg"])


def _spec_path(document: Document, problem: Any) -> KeyPath:
    """pydantic's location as keys of the document: without the tags of unions and of gathered agent types."""
    node, path = document.plain, ()
    places = iter(problem["loc"])
    for place in places:
        if isinstance(node, dict) and place in node:
            node = node[place]  # type: ignore[index]
        elif isinstance(node, list) and isinstance(place, int) and place < len(node):
            node = node[place]
        else:
            continue
        path = (*path, place)
        if is_tagged(form_at(path)):
            next(places, None)  # the tag, which may be the name of a key inside, too
    return (*path, problem["loc"][-1]) if problem["type"] == "missing" else path


def _backwards(path: KeyPath) -> tuple[tuple[int, int, str], ...]:
    """A key by which paths sort, items of lists by number."""
    return tuple((key, 0, "") if isinstance(key, int) else (-1, 0, key) for key in path)


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
