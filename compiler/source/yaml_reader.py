"""YAML text to a tree of nodes.

The tree is built from YAML events, not from Python objects: every scalar keeps its text and place, values follow
the YAML 1.2 core schema (`no` is a word, `1e-3` a number), and anchors, aliases and tags, which specs do not need,
are refused, so that no file can expand without limit or construct objects.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from rbcc.compiler.diagnostics import Diagnostic, Diagnostics, Label, Severity, Source, Span
from rbcc.compiler.source.pitfalls import empty_trap, yaml_trap
from rbcc.compiler.source.tree import Entry, Mapping, Node, Plain, Scalar, Sequence, names_in


# A spec within these limits is compiled in about a second; those that people write are ten times smaller.
MAX_CHARACTERS = 500_000
MAX_WORDS = 20_000
MAX_DEPTH = 40
MAX_NODES = 100_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# As in YAML 1.2, but for numbers that start with a superfluous 0: what they mean depends on the reader.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"\w+|[^\w\s]")
_WORDS: dict[str, Plain] = {"": None, "~": None, "null": None, "true": True, "false": False}


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


def word_count(node: Node) -> int:
    """How many words and signs the values and keys below `node` have."""
    if isinstance(node, Mapping):
        return sum(words_in(key) + word_count(entry.node) for key, entry in node.entries.items())
    if isinstance(node, Sequence):
        return sum(map(word_count, node.items))
    return words_in(node.text)


def parse_value(source: Source, start: int, diagnostics: Diagnostics) -> Node | None:
    """The value that stands in `source` from character `start` on, or None with the reason in `diagnostics`."""
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
