"""YAML files to a tree of nodes that remember their line and column.

The tree is built from YAML events, not from Python objects: every scalar keeps its text and place, values follow
the YAML 1.2 core schema (`no` is a word, `1e-3` a number), and anchors, aliases and tags, which specs do not need,
are refused, so that no file can expand without limit or construct objects.
"""

import copy
import hashlib
import json
import os
import re
from collections.abc import Container, Iterator, Mapping as MappingABC
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rbcc.compiler.diagnostics import Diagnostic, Diagnostics, Label, Severity, Source, Span, suggest
from rbcc.compiler.source.pitfalls import empty_trap, yaml_trap


# A spec within these limits is compiled in about a second; those that people write are ten times smaller.
MAX_CHARACTERS = 500_000
MAX_WORDS = 20_000
MAX_DEPTH = 40
MAX_NODES = 100_000
MAX_EXTENDS = 20

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None
KeyPath = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# As in YAML 1.2, but for numbers that start with a superfluous 0: what they mean depends on the reader.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"\w+|[^\w\s]")
_WORDS: dict[str, Plain] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Scalar:
    """A leaf: `value` is its YAML 1.2 value, `text` the characters it was read from (escapes and folding undone)."""

    value: bool | int | float | str | None
    text: str
    span: Span
    quote: str = ""

    @cached_property
    def _offsets(self) -> list[int]:
        """For each character of `text` its offset in the source.

        Folding and block indentation only change white space, so the other characters are met in order.
        """
        raw, place, end = self.span.source.text, self.span.start, self.span.end
        if self.quote in ("|", ">"):
            place = raw.find("\n", place) + 1 or end
        elif self.quote:
            place += 1
        offsets = []
        for character in self.text:
            if character.isspace():
                offsets.append(min(place, end))
                place += place < end and raw[place] == character
                continue
            while place < end and raw[place] != character:
                place += 1
            offsets.append(min(place, end))
            place += 2 if character == self.quote == "'" else 1
        return offsets

    def locate(self, start: int, end: int) -> Span:
        """The span of `text[start:end]` in the source."""
        if not self.text:
            return self.span
        offsets = self._offsets
        last = min(max(end - 1, start), len(offsets) - 1)
        first = min(start, len(offsets) - 1)
        past = start >= len(offsets)
        begin = offsets[first] + past
        return Span(self.span.source, begin, max(begin, offsets[last] + 1))


@dataclass(frozen=True)
class Sequence:
    items: tuple["Node", ...]
    span: Span


@dataclass(frozen=True)
class Entry:
    key: Span
    node: "Node"


@dataclass(frozen=True)
class Mapping:
    entries: dict[str, Entry]
    span: Span


Node = Scalar | Sequence | Mapping


def names_in(node: Node) -> Iterator[str]:
    """All keys inside a node, in whatever table."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield name
            yield from names_in(entry.node)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from names_in(item)


@dataclass(frozen=True)
class Override:
    """One `path=value` from the command line or the API, already applied; `known` tells whether the key existed."""

    path: KeyPath
    span: Span
    known: bool


@dataclass(frozen=True)
class Document:
    """A spec with everything it extends and all overrides merged in."""

    root: Mapping
    sources: tuple[Source, ...]
    overrides: tuple[Override, ...] = ()

    @cached_property
    def plain(self) -> Plain:
        return _plain(self.root)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the resolved spec and of the files it uses; comments and layout do not change it."""
        plain = self.with_files({path: _digest(file) for path, file in self.files.items()})
        plain.pop("extends", None)
        plain.pop("silence", None)
        return hashlib.sha256(json.dumps(plain, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def files(self) -> dict[KeyPath, Path]:
        """The files that the spec names, Python and CSV, by the place where their names stand."""
        return {path: self.file_beside(scalar.span, scalar.text) for path, scalar in _file_names(self.root, ())}

    def with_files(self, names: MappingABC[KeyPath, str]) -> dict[str, Plain]:
        """The resolved spec with other names for the files at some places."""
        root = copy.deepcopy(self.plain)
        for path, name in names.items():
            table: Any = root
            for key in path[:-1]:
                table = table[key]
            table[path[-1]] = name
        return root  # type: ignore[return-value]

    def file_beside(self, span: Span, name: str) -> Path:
        """The file `name`, relative to the spec that `span` lies in."""
        origin = span.source if span.source in self.sources else self.sources[0]
        return Path(origin.name).parent / name

    def node(self, path: KeyPath) -> Node:
        """The node at `path`, or the deepest one above it (a shorthand scalar stands for its table)."""
        return self._walk(path)[0]

    def span(self, path: KeyPath) -> Span:
        node, rest, key = self._walk(path)
        if isinstance(node, Scalar) and not rest:
            return node.span
        return key or node.span

    def key(self, path: KeyPath) -> Span:
        """The span of the key that ends `path`."""
        node, _, key = self._walk(path)
        return key or node.span

    def extent(self, path: KeyPath) -> Span:
        """The entry at `path` with its key; the key alone where its value was written in another file."""
        node, _, key = self._walk(path)
        if key is None or key.source is not node.span.source:
            return key or node.span
        return Span(key.source, key.start, max(key.end, node.span.end))

    def has(self, path: KeyPath) -> bool:
        """Whether there is something at `path`."""
        return not self._walk(path)[1]

    def scalar(self, path: KeyPath) -> Scalar:
        node = self.node(path)
        if not isinstance(node, Scalar):
            raise TypeError(f"{'.'.join(map(str, path))} is not a scalar")
        return node

    def _walk(self, path: KeyPath) -> tuple[Node, KeyPath, Span | None]:
        node: Node = self.root
        key: Span | None = None
        for depth, part in enumerate(path):
            if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
                key, node = node.entries[part].key, node.entries[part].node
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                key = node.span
            else:
                return node, path[depth:], key
        return node, (), key


def load(
    path: str | Path,
    overrides: MappingABC[str, object] | None,
    diagnostics: Diagnostics,
    texts: MappingABC[Path, str] | None = None,
) -> Document | None:
    """Reads a spec and whatever it extends; entries that cannot be read are reported and left out.

    Returns None, with the reason in `diagnostics`, if nothing can be made of it.
    `texts`, by resolved path, are read in place of files: what an editor holds and has not saved.
    """
    sources: list[Source] = []
    root = _load_file(str(path), None, (), sources, diagnostics, texts or {})
    if root is None:
        return None
    applied = []
    for name, value in (overrides or {}).items():
        root = _override(root, name, value, applied, diagnostics)
    if _words(root) > MAX_WORDS:
        diagnostics.error(
            "RB005",
            "this spec is too long with what it extends and all overrides",
            Span(sources[0], 0, 0),
            expected=f"at most {MAX_WORDS:,} words and signs",
        )
        return None
    return Document(root, tuple(sources), tuple(applied))


def find_model(name: str, folder: Path | None = None, texts: Container[Path] = ()) -> Path | None:
    """The file a model name means: a path, perhaps of one of `texts`, or the bare name of a model that ships."""
    if "\0" in name:  # which no file system has
        return None
    direct = Path(name) if folder is None or os.path.isabs(name) else folder / name
    # pathlib's is_file raises an error for names that are too long.
    if os.path.isfile(direct) or (texts and direct.resolve() in texts):
        return direct
    if Path(name).name == name:
        shipped = shipped_models() / (name if name.endswith(".yaml") else f"{name}.yaml")
        if os.path.isfile(shipped):
            return shipped
    return None


def shipped_models() -> Path:
    import rbcc.models

    return Path(rbcc.models.__path__[0])


def _load_file(
    name: str,
    origin: Span | None,
    chain: tuple[Path, ...],
    sources: list[Source],
    diagnostics: Diagnostics,
    texts: MappingABC[Path, str],
) -> Mapping | None:
    folder = chain[-1].parent if chain else None
    path = find_model(name, folder, texts)
    if path is None:
        _missing_file(name, folder, origin, diagnostics)
        return None
    if path.resolve() in [known.resolve() for known in chain]:
        circle = " -> ".join(map(str, (*chain, path)))
        diagnostics.error("RB006", "this spec extends itself", origin, found=circle)
        return None
    if len(chain) >= MAX_EXTENDS:
        diagnostics.error("RB006", f"more than {MAX_EXTENDS} specs extend each other in a chain", origin)
        return None
    diagnostics.specs.append(str(path))
    source = read_file(path, origin, diagnostics, texts)
    if source is None:
        return None
    sources.append(source)
    if sum(len(one.text) for one in sources) > MAX_CHARACTERS:
        diagnostics.error("RB005", f"these specs have together more than {MAX_CHARACTERS:,} characters", origin)
        return None
    root = parse(source, diagnostics)
    if root is None:
        return None
    parent = root.entries.get("extends")
    if parent is None:
        return root
    if not isinstance(parent.node, Scalar) or not isinstance(parent.node.value, str):
        diagnostics.error("RB103", "'extends' takes the name of one spec", parent.node.span, expected="a file name")
        return None
    base = _load_file(parent.node.value, parent.node.span, (*chain, path), sources, diagnostics, texts)
    return None if base is None else _merge(base, root)


def _missing_file(name: str, folder: Path | None, origin: Span | None, diagnostics: Diagnostics) -> None:
    direct = Path(name) if folder is None else folder / name
    if os.path.isdir(direct):
        diagnostics.error("RB001", f"{name} is a folder", origin, expected="a spec file such as model.yaml")
        return
    parent = direct.parent
    nearby = {p.name: str(Path(name).parent / p.name) for p in parent.glob("*.yaml")} if os.path.isdir(parent) else {}
    nearby |= {p.stem: p.stem for p in shipped_models().glob("*.yaml")}
    close = nearby.get(suggest(direct.name, nearby) or "")
    diagnostics.error("RB001", f"there is no file {direct}", origin, help=f"did you mean {close}?" if close else None)


def read_file(
    path: Path, origin: Span | None, diagnostics: Diagnostics, texts: MappingABC[Path, str] | None = None
) -> Source | None:
    """The text of one file, by default the one on disk, or None with the reason in `diagnostics`.

    `origin` is where the file was named.
    """
    try:
        text = texts.get(path.resolve()) if texts else None
        if text is None and path.stat().st_size > 4 * MAX_CHARACTERS:
            diagnostics.error("RB005", f"{path} has more than {4 * MAX_CHARACTERS:,} bytes", origin)
            return None
        text = path.read_text(encoding="utf-8-sig") if text is None else text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        diagnostics.error("RB001", f"{path} is not UTF-8 text, from line {line} on", origin, help="save it as UTF-8")
        return None
    except OSError as error:
        diagnostics.error("RB001", f"{path} cannot be read: {error.strerror}", origin)
        return None
    if len(text) > MAX_CHARACTERS:
        diagnostics.error("RB005", f"{path} has more than {MAX_CHARACTERS:,} characters", origin)
        return None
    return Source(str(path), text)


class _Refused(Exception):
    """A spec that it makes no sense to go on with; the diagnostic is already recorded."""


def parse(source: Source, diagnostics: Diagnostics) -> Mapping | None:
    """The table that one file holds, without what it extends, or None with the reason in `diagnostics`."""
    if odd := re.search("[\x85\u2028\u2029]", source.text):  # YAML 1.1 counts lines by them, editors do not
        span = Span(source, odd.start(), odd.end())
        diagnostics.error("RB004", f"a line break that specs do not use (U+{ord(odd.group()):04X})", span)
        return None
    try:
        root = _Builder(source, diagnostics).build()
    except yaml.YAMLError as error:
        _yaml_error(source, error, diagnostics)
        return None
    except _Refused:
        return None
    if root is None:
        diagnostics.error(
            "RB103", "this spec is empty", Span(source, 0, 0), expected="lines such as 'model: my_economy'"
        )
        return None
    if not isinstance(root, Mapping):
        diagnostics.error(
            "RB103",
            "a spec is a table of keys",
            root.span,
            expected="lines such as 'model: my_economy'",
            found="a list" if isinstance(root, Sequence) else "text",
        )
        return None
    return root


@dataclass
class _Builder:
    source: Source
    diagnostics: Diagnostics
    nodes: int = 0
    words: int = 0
    empty: list[Diagnostic] = field(default_factory=list)  # reported once the whole text is known to be YAML
    events: Iterator[yaml.Event] = field(init=False)

    def __post_init__(self) -> None:
        self.events = yaml.parse(self.source.text, Loader=_LOADER)

    def build(self) -> Node | None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self.node(next(self.events), 0)
                next(self.events)
                following = next(self.events)
                if isinstance(following, yaml.DocumentStartEvent):
                    self.error("RB004", "a spec file holds one document", following, help="remove the line '---'")
                    raise _Refused
                for finding in self.empty:
                    self.diagnostics.add(finding)
                return root
        return None

    def node(self, event: yaml.Event, depth: int) -> Node | None:
        """The node that starts with `event`, or None, after a message, if it is an alias or a tagged word."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            self.error("RB005", "this spec is nested too deeply or has too many values", event)
            raise _Refused
        if isinstance(event, yaml.AliasEvent):
            self.error(
                "RB004", f"'*' begins an alias of YAML, here of '{event.anchor}'; specs have none", event,
                help="repeat the value, or give it a name under 'parameters'; quote text that starts with '*'",
            )  # fmt: skip
            return None
        if anchor := getattr(event, "anchor", None):
            self.error(
                "RB004", f"'&' begins an anchor of YAML, here '{anchor}'; specs have none", event,
                help=f"write the value without '&{anchor}', or quote text that starts with '&'",
            )  # fmt: skip
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self.error(
                "RB004", f"'!' begins a tag of YAML, here '{tag}'; specs have none", event,
                help="write the value without it, 'not' for a negation, or quote text that starts with '!'",
            )  # fmt: skip
            if isinstance(event, yaml.ScalarEvent):
                return None
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(inner, depth + 1))
            return Sequence(tuple(item for item in items if item is not None), self.span(event, inner))
        return self.mapping(event, depth)

    def mapping(self, event: yaml.Event, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        again: list[Scalar] = []
        while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
            key = self.node(inner, depth + 1)
            value = self.node(next(self.events), depth + 1)
            if not isinstance(key, Scalar):
                self.diagnostics.broken.update(names_in(value) if value is not None else ())
                if key is not None:
                    self.error("RB004", "a key must be a word", inner, help="quote an expression that holds { } or [ ]")
            elif key.text == "<<":
                self.error(
                    "RB004", "'<<' merges tables in YAML; specs have no merge keys", inner,
                    help="repeat the keys, or use 'extends' for a whole spec",
                )  # fmt: skip
            elif key.text in entries:
                again.append(key)
                self.diagnostics.broken.update(names_in(value) if value is not None else ())
            elif value is None:
                self.diagnostics.broken.add(key.text)
            elif isinstance(value, Scalar) and not value.text and not value.quote:
                torn = self.without_value(key) and bool(entries)
                if torn:  # and with it the value before
                    self.diagnostics.broken.add(entries.popitem()[0])
            else:
                entries[key.text] = Entry(key.span, value)
        if again:
            self.given_twice(again, entries)
        if len(again) > 1:
            raise _Refused  # two tables have become one
        return Mapping(entries, self.span(event, inner))

    def given_twice(self, keys: list[Scalar], entries: dict[str, Entry]) -> None:
        one, names = len(keys) == 1, [f"'{key.text}'" for key in keys]
        self.diagnostics.error(
            "RB003",
            f"key {names[0]} is given twice"
            if one
            else f"keys {', '.join(names[:-1])} and {names[-1]} are given twice",
            keys[0].span,
            help="keep one of the two, with all that belongs below it"
            if one
            else "is a line with a name missing above them? Else keep one of each",
            labels=(Label(entries[keys[0].text].key, "given first at"),),
        )

    def without_value(self, key: Scalar) -> bool:
        """Notes a key without a value, and tells whether it was torn off from a value by a comma in braces."""
        rest = self.source.text[key.span.end :].partition("\n")[0]
        trap = empty_trap(key.text, rest)
        self.empty.append(Diagnostic("RB105", Severity.ERROR, trap.message, key.span, help=trap.help))
        self.diagnostics.broken.update({key.text, key.text.partition(":")[0]})
        return ":" not in key.text + rest.strip()[:1]

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        self.words += words_in(event.value)
        if self.words > MAX_WORDS:
            self.error("RB005", "this spec is too long", event, expected=f"at most {MAX_WORDS:,} words and signs")
            raise _Refused
        quote = event.style or ""
        value = event.value if quote else _value(event.value)
        return Scalar(value, event.value, self.span(event, event), quote)

    def span(self, first: yaml.Event, last: yaml.Event) -> Span:
        # Not by the lines of the marks: YAML ends lines at characters that do not end those of a `Source`.
        start, end = (min(mark.index, len(self.source.text)) for mark in (first.start_mark, last.end_mark))
        return Span(self.source, start, end)

    def error(self, code: str, message: str, event: yaml.Event, **details: str) -> None:
        self.diagnostics.error(code, message, self.span(event, event), **details)


def _value(text: str) -> bool | int | float | str | None:
    """A plain scalar under the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]  # type: ignore[return-value]
    if _INTEGER.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _yaml_error(source: Source, error: yaml.YAMLError, diagnostics: Diagnostics) -> None:
    trap, span, labels = yaml_trap(source, error)
    diagnostics.error("RB002", trap.message, span, help=trap.help, labels=labels)


def words_in(text: str) -> int:
    """How many words and signs `text` has."""
    return len(_WORD.findall(text))


def _words(node: Node) -> int:
    """How many words and signs the values and keys below `node` have."""
    if isinstance(node, Mapping):
        return sum(words_in(key) + _words(entry.node) for key, entry in node.entries.items())
    if isinstance(node, Sequence):
        return sum(map(_words, node.items))
    return words_in(node.text)


def _file_names(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Scalar]]:
    """Where names of files stand: under `use`, and as `csv` of a value or start."""
    if isinstance(node, Scalar):
        if path[0] == "use" or path[-2:] in (("value", "csv"), ("start", "csv")):
            yield path, node
    elif isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from _file_names(entry.node, (*path, key))
    elif path == ("use",):
        for position, item in enumerate(node.items):
            yield from _file_names(item, (*path, position))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def _plain(node: Node) -> Plain:
    if isinstance(node, Mapping):
        return {key: _plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return node.value


def _merge(base: Mapping, child: Mapping) -> Mapping:
    """`child` over `base`: tables are merged key by key, anything else is replaced, null removes a key."""
    entries = dict(base.entries)
    for key, entry in child.entries.items():
        if key not in entries:
            entries[key] = entry
        elif isinstance(entry.node, Scalar) and entry.node.value is None:
            del entries[key]
        else:
            entries[key] = replace(entry, node=_replace(entries[key].node, entry.node))
    return Mapping(entries, child.span)


def _replace(old: Node, new: Node) -> Node:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _merge(old, new)
    short = next((key for key in ("value", "start") if isinstance(old, Mapping) and key in old.entries), None)
    if isinstance(old, Mapping) and isinstance(new, (Scalar, Sequence)) and short:
        return Mapping({**old.entries, short: Entry(new.span, new)}, old.span)
    return new


def override_text(value: object) -> str:
    """The value of an override as one would write it behind `--set path=`."""
    return value if isinstance(value, str) else json.dumps(value, default=_plain_number)


# Tables of settings that a spec may leave out, and an override still set.
SETTINGS = ("training", "verify")


def _override(root: Mapping, name: str, value: object, applied: list[Override], diagnostics: Diagnostics) -> Mapping:
    """Applies one override; keys may themselves hold dots (`training.anneal.seller.quantity`), null removes."""
    source = Source("--set", f"{name}={override_text(value)}")
    span = Span(source, 0, len(name))
    node = _override_value(source, len(name) + 1, diagnostics)
    if node is None:
        return root
    parts, path = name.split("."), []
    table: Node = root
    tables: list[tuple[Mapping, str]] = []
    while parts:
        if not isinstance(table, Mapping):
            shown = "a list, which can only be replaced whole" if isinstance(table, Sequence) else "a single value"
            diagnostics.error("RB007", f"'{'.'.join(path)}' is {shown}: nothing below it can be set", span)
            return root
        key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in table.entries), parts[0])
        parts = parts[key.count(".") + 1 :]
        path.append(key)
        tables.append((table, key))
        if key in table.entries:
            table = table.entries[key].node
        elif parts and len(path) == 1 and key in SETTINGS:
            table = Mapping({}, span)
        elif parts:
            close = suggest(key, table.entries)
            whole = path_like(root, name.split("."))
            meant = ".".join(map(str, whole)) if whole else close
            diagnostics.error(
                "RB007",
                f"the spec has no '{'.'.join(path)}'",
                span,
                expected=f"one of: {', '.join(table.entries)}" if table.entries else None,
                help=f"did you mean '{meant}'?" if meant else None,
            )
            return root
    if path == ["extends"]:
        diagnostics.error("RB007", "'extends' cannot be overridden", span, help="name the other spec in the command")
        return root
    parent, key = tables.pop()
    applied.append(Override(tuple(path), span, key in parent.entries))
    changed = _merge(parent, Mapping({key: Entry(span, node)}, parent.span))
    for parent, key in reversed(tables):
        entry = Entry(parent.entries[key].key if key in parent.entries else span, changed)
        changed = Mapping({**parent.entries, key: entry}, parent.span)
    return changed


def path_like(root: Node, parts: list[str]) -> KeyPath | None:
    """The shortest path of keys that ends with the last of `parts` and has all others, in their order, before it."""
    pending: list[tuple[Node, KeyPath, int]] = [(root, (), 0)]
    for node, path, done in pending:
        for key, entry in node.entries.items() if isinstance(node, Mapping) else ():
            matched = done + (done < len(parts) - 1 and key == parts[done])
            if done == len(parts) - 1 and key == parts[-1]:
                return (*path, key)
            pending.append((entry.node, (*path, key), matched))
    return None


def _plain_number(value: Any) -> object:
    """A NumPy number or array as JSON can hold it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _override_value(source: Source, start: int, diagnostics: Diagnostics) -> Node | None:
    text = source.text[start:]
    if not text.lstrip().startswith(("[", "{")):
        return Scalar(_value(text.strip()), text, Span(source, start, len(source.text)))
    blank = Source(source.name, " " * start + text)
    try:
        node = _Builder(blank, diagnostics).build()
    except yaml.YAMLError as error:
        _yaml_error(blank, error, diagnostics)
        return None
    except _Refused:
        return None
    return node


def is_text(text: str) -> bool:
    """Whether `text`, written without quotes, is read back as text and not as a number or a word such as true."""
    return _value(text) == text and isinstance(_value(text), str)


def stands_plain(text: str, *, flow: bool, key: bool = False) -> bool:
    """Whether `text` needs no quotes as a value, or as a key, of a table; `flow` tells of a table in braces."""
    if text != text.strip() or (not key and not is_text(text)):  # of white space also such as YAML does not know
        return False
    line = f"{text}: x" if key else f"x: {text}"
    try:
        root = _Builder(Source("text", f"{{{line} }}" if flow else line), Diagnostics()).build()
    except (yaml.YAMLError, _Refused):
        return False
    if not isinstance(root, Mapping) or len(root.entries) != 1:
        return False
    ((found, entry),) = root.entries.items()
    node = entry.node
    return isinstance(node, Scalar) and not node.quote and (found if key else node.text) == text
