"""Where a cursor stands in the text of a spec, read from indentation alone: half-typed lines are not YAML."""

import re
from dataclasses import dataclass

from rbcc.compiler.source import KeyPath


_KEY = re.compile(r"(?P<key>\"[^\"]*\"|'[^']*'|[^\s#\[{\"'][^#]*?)[ \t]*:(?:[ \t]+(?P<value>.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """Where something is being typed: a key of the table at `path`, or the value at `path`.

    `before` is what stands of it before the cursor.
    """

    path: KeyPath
    is_key: bool
    before: str


def place_at(text: str, offset: int) -> Place:
    """The place of a cursor at `offset`."""
    return _Reader().read(text[:offset].split("\n"))


class _Reader:
    """Follows the lines of block YAML down to the cursor."""

    def __init__(self) -> None:
        self.stack: list[tuple[int, str | int]] = []  # indentation and key, or position in a list, of what is open
        self.block: int | None = None  # indentation of the key whose text block is open
        self.value: str | None = None  # a value that goes on: text block, open bracket or quote

    @property
    def path(self) -> KeyPath:
        return tuple(key for _, key in self.stack)

    def read(self, lines: list[str]) -> Place:
        *above, last = lines
        for line in above:
            self.line(line)
        return self.cursor(last)

    def continues(self, line: str) -> bool:
        """Whether `line` belongs to a value that an earlier line opened; takes it up if so."""
        if self.value is None:
            return False
        indent = len(line) - len(line.lstrip())
        if self.block is not None and line.strip() and indent <= self.block:
            self.block = self.value = None
            return False
        self.value += "\n" + line
        return True

    def line(self, line: str) -> None:
        if self.continues(line):
            if self.block is None and self.value is not None and not _is_open(self.value):
                self.value = None
            return
        if not line.strip() or line.lstrip().startswith("#"):
            return
        rest, indent, _ = self.descend(line)
        entry = _KEY.match(rest)
        if entry is None:
            return
        value = entry["value"] or ""
        self.stack.append((indent, _unquoted(entry["key"])))
        if value[:1] in ("|", ">"):
            self.block, self.value = indent, ""
        elif _is_open(value):
            self.value = value

    def cursor(self, line: str) -> Place:
        """The place at the end of `line`, the one that the cursor stands in."""
        if self.value is not None and self.block is not None and not line.strip() and len(line) <= self.block:
            self.block = self.value = None
        if self.continues(line):
            assert self.value is not None
            if self.block is not None:
                return Place(self.path, False, self.value.removeprefix("\n"))
            return _in_flow(self.value, self.path)
        rest, _, is_item = self.descend(line)
        entry = _KEY.match(rest)
        if entry is not None:
            return _in_flow(entry["value"] or "", (*self.path, _unquoted(entry["key"])))
        if is_item or rest[:1] in ("[", "{", '"', "'"):
            return _in_flow(rest, self.path)
        return Place(self.path, True, rest)

    def descend(self, line: str) -> tuple[str, int, bool]:
        """Closes what `line` is not inside of and opens the list items that it begins.

        Returns the rest of the line, its indentation, and whether it is in a list item that begins here.
        """
        rest, indent = line.lstrip(), len(line) - len(line.lstrip())
        is_item = False
        while rest == "-" or rest.startswith("- "):
            count = 0
            while self.stack and self.stack[-1][0] >= indent:
                if self.stack[-1][0] == indent and isinstance(self.stack[-1][1], str):
                    break  # a list may be indented as its key is
                closed = self.stack.pop()
                if closed[0] == indent and isinstance(closed[1], int):
                    count = closed[1] + 1
            self.stack.append((indent, count))
            after = rest[1:].lstrip()
            indent += len(rest) - len(after)
            rest, is_item = after, True
            if not rest:
                break
        while self.stack and self.stack[-1][0] >= indent:
            self.stack.pop()
        return rest, indent, is_item


def _unquoted(key: str) -> str:
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'" else key


def _is_open(value: str) -> bool:
    """Whether a value goes on in the next line: a bracket or a quote that it begins with is not closed."""
    if value[:1] in ('"', "'"):
        return value.count(value[0]) % 2 == 1
    return value[:1] in ("[", "{") and _Flow(value).depth > 0


def _in_flow(value: str, path: KeyPath) -> Place:
    """The place at the end of `value`, which may be a table or list in brackets."""
    if value[:1] in ("[", "{"):
        flow = _Flow(value)
        return Place((*path, *flow.path), flow.is_key, flow.token)
    return Place(path, False, value[1:] if value[:1] in ('"', "'") else value)


class _Flow:
    """A table or list in brackets, read up to where it breaks off."""

    def __init__(self, text: str):
        self.containers: list[str | int | None] = []  # the key, or the position, where reading is in each
        self.kinds: list[str] = []
        self.token = ""
        quote = ""
        for position, character in enumerate(text):
            if quote:
                if character == quote:
                    quote = ""
                else:
                    self.token += character
            elif character in "\"'" and not self.token.strip():
                quote, self.token = character, ""
            elif character in "[{" and not self.token.strip():
                self.kinds.append(character)
                self.containers.append(0 if character == "[" else None)
                self.token = ""
            elif character in "]}" and self.kinds and self.token.count("[") <= self.token.count("]"):
                self.kinds.pop()
                self.containers.pop()
                self.token = ""
            elif character == "," and self.kinds and self.token.count("[") <= self.token.count("]"):
                at = self.containers[-1]
                self.containers[-1] = at + 1 if isinstance(at, int) else None
                self.token = ""
            elif character == ":" and self.is_key and text[position + 1 : position + 2] in (" ", "", "\n"):
                self.containers[-1], self.token = self.token.strip(), ""
            else:
                self.token += character
        self.token = self.token.lstrip()

    @property
    def depth(self) -> int:
        return len(self.kinds)

    @property
    def is_key(self) -> bool:
        return bool(self.kinds) and self.kinds[-1] == "{" and self.containers[-1] is None

    @property
    def path(self) -> KeyPath:
        return tuple(key for key in self.containers if key is not None)
