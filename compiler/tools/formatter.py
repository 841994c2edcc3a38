"""The canonical layout of a spec: the same lines and comments, the same spacing, indentation and quotes everywhere.

The text is walked along the tree of `source`: each value is written at its place among the lines of the author,
and what stands between two values is white space, punctuation and comments. Lines are neither joined nor broken.
"""

import re
from collections.abc import Iterable, Sequence as SequenceABC
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, NoReturn

from lark import Token

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import CompileError, Diagnostic, Diagnostics, Source, Span
from rbcc.compiler.schema.introspection import scalar_forms_at
from rbcc.compiler.schema.spec import Equations, Expression
from rbcc.compiler.source import KeyPath, Mapping, Node, Scalar, Sequence, parse, read_file, stands_plain
from rbcc.compiler.util.atomic_write import write_file


STEP = 2  # columns by which each level is indented

_HEADER = re.compile(r"([|>])([-+]?)([1-9]?)([-+]?)[ \t]*(#.*)?$")
_GAP = re.compile(r"(?:\s|#[^\n]*)*")
_MARKER = re.compile(r"(?:---|\.\.\.)(?=\s|$)|%[^\n]*")


def format_files(paths: Iterable[Path], *, write: bool) -> tuple[dict[Path, bool], tuple[Diagnostic, ...]]:
    """Which files were not in the canonical layout, and why others cannot be; `write` puts the former into it.

    A file that is not a spec is left as it is. Files are replaced whole or not at all.
    """
    changed, diagnostics = {}, Diagnostics()
    for path in paths:
        try:
            changed[path] = format_file(path, write=write)
        except CompileError as error:
            diagnostics.found += error.diagnostics
    return changed, tuple(diagnostics.found)


def format_file(path: Path, *, write: bool) -> bool:
    """Whether the file at `path` was not in the canonical layout; `write` puts it there.

    Raises CompileError, and leaves the file as it is, if it is not a spec.
    """
    diagnostics = Diagnostics()
    source = read_file(path, None, diagnostics)
    diagnostics.raise_if_failed()
    assert source is not None
    result = format_text(source.text, source.name)
    changed = path.read_bytes() != result.encode()  # read_file leaves out a byte order mark and carriage returns
    if changed and write:
        write_file(path, result.encode())
    return changed


def format_text(text: str, name: str = "spec") -> str:
    """`text` in the canonical layout. Raises CompileError if it is not a spec; what it means does not matter."""
    diagnostics = Diagnostics()
    source = Source(name, text.replace("\r\n", "\n").replace("\r", "\n"))
    root = parse(source, diagnostics)
    diagnostics.raise_if_failed()
    assert root is not None
    result = _Layout(source, diagnostics).write(root)
    again = parse(Source(name, result), Diagnostics())
    if again is None or not _same(root, again, ()):
        raise RuntimeError(f"the layout of {name} cannot be changed without changing its meaning")
    return result


def _same(old: Node, new: Node, path: KeyPath) -> bool:
    """Whether two trees mean the same: white space counts, but not in expressions and equations."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return list(old.entries) == list(new.entries) and all(
            _same(old.entries[key].node, new.entries[key].node, (*path, key)) for key in old.entries
        )
    if isinstance(old, Sequence) and isinstance(new, Sequence):
        pairs = zip(old.items, new.items, strict=False)
        return len(old.items) == len(new.items) and all(_same(a, b, (*path, k)) for k, (a, b) in enumerate(pairs))
    if not isinstance(old, Scalar) or not isinstance(new, Scalar):
        return False
    if old.value == new.value and type(old.value) is type(new.value):
        return True
    if not isinstance(old.value, str) or not isinstance(new.value, str) or _form(path) is None:
        return False
    return "".join(old.value.split()) == "".join(new.value.split())


def _form(path: KeyPath) -> str | None:
    """What the scalar at `path` holds, if it is text of the expression language."""
    for form in scalar_forms_at(path):
        if form == Equations:
            return "equation"
        if form == Expression:
            return "expression"
    return None


# --- lines ---------------------------------------------------------------------------------------------------------


@dataclass
class _Line:
    """A line of the result, or a part of one that is still growing."""

    indent: int
    code: str
    comment: str | None = None
    equation: bool = False

    @property
    def text(self) -> str:
        parts = [part for part in (self.code, self.comment) if part]
        return " " * self.indent + "  ".join(parts) if parts else ""


def _joined(lines: Iterable[_Line]) -> str:
    """The lines as text; comments behind adjacent lines of one kind stand in one column."""
    result = []
    for kind, group in groupby(lines, _kind):
        run = list(group)
        if kind is not None:
            column = max(line.indent + len(line.code) for line in run)
            for line in run:
                line.code = line.code.ljust(column - line.indent)
        result += [line.text for line in run]
    return "\n".join(result) + "\n"


def _kind(line: _Line) -> tuple[bool, int] | None:
    """What lines have in common whose comments are aligned with each other; None without such a comment."""
    if not line.code or not line.comment:
        return None
    return line.equation, 0 if line.equation else line.indent


# --- expressions ---------------------------------------------------------------------------------------------------


def _spaced(tokens: SequenceABC[Token]) -> dict[int, str]:
    """Tokens with canonical spaces between them, by the number of the line that they stood on."""
    lines: dict[int, str] = {}
    brackets: list[str] = []
    in_unit = False
    for place, token in enumerate(tokens):
        number = token.line or 1
        if number in lines and not in_unit and _apart(tokens, place, brackets):
            lines[number] += " "
        lines[number] = lines.get(number, "") + token
        if token in ("(", "["):
            brackets.append(str(token))
        elif token in (")", "]"):
            brackets.pop()
        elif token == ":":
            lines[number] += " "
            in_unit = True
        elif token == "=":
            in_unit = False
    return {number: line.strip() for number, line in lines.items()}


def _apart(tokens: SequenceABC[Token], place: int, brackets: SequenceABC[str]) -> bool:
    """Whether a space stands before the token at `place`."""
    before, token = tokens[place - 1], tokens[place]
    if token in (")", "]", ",", "'", ".", "[", ":", "^") or before in ("(", "[", ".", "^"):
        return False
    if token == "(" and before.type == "NAME":
        return False
    if before == ",":
        return brackets[-1] != "["
    if before in ("+", "-") and _is_sign(tokens, place - 1):
        return False
    return not (_is_fraction(tokens, place) or _is_fraction(tokens, place - 1))


def _is_sign(tokens: SequenceABC[Token], place: int) -> bool:
    """Whether + or - at `place` belongs to what follows it rather than joining two values."""
    before = tokens[place - 1] if place else None
    joins = before is not None and (before.type in ("NAME", "NUMBER", "TRUE", "FALSE") or before in (")", "]", "'"))
    return not joins


def _is_fraction(tokens: SequenceABC[Token], place: int) -> bool:
    """Whether the token at `place` is the stroke of a fraction of two numbers, such as 1/4, that stands by itself."""
    if tokens[place] != "/" or not 0 < place < len(tokens) - 1:
        return False
    above, below = tokens[place - 1], tokens[place + 1]
    if above.type != "NUMBER" or below.type != "NUMBER" or above.line != below.line:
        return False
    misread = place > 1 and tokens[place - 2] in ("/", "^")  # a / 1/2 is not a / (1/2)
    return not misread and not (place + 2 < len(tokens) and tokens[place + 2] == "^")


def _expression_lines(text: str) -> list[str] | None:
    """The lines of an expression, or None if it cannot be read or holds comments or empty lines."""
    if "#" in text or (tokens := syntax.tokens(text.strip(), "expression")) is None:
        return None
    lines = _spaced(tokens)
    return list(lines.values()) if len(lines) == len(text.strip().split("\n")) else None


@dataclass(frozen=True)
class _EquationLine:
    """A line of a group of equations: the start of one (`left = right`), the next of one, a comment, or nothing."""

    left: str | None
    right: str
    comment: str | None
    inside: bool  # of an equation, but not its first line


def _equation_lines(block: str, sign: Literal["=", "=="] = "=") -> list[_EquationLine] | None:
    """The lines of a group of equations with `sign` between their sides, or None if not all of it can be read."""
    kind = "equation" if sign == "=" else "expression"
    lines = block.rstrip("\n").split("\n")
    if len(block.splitlines()) != block.count("\n") + (not block.endswith("\n")):
        return None  # it has line breaks that YAML does not see
    codes: dict[int, tuple[str | None, str]] = {}
    inside: set[int] = set()
    for start, text, _ in syntax.statements(block):
        tokens, first = syntax.tokens(text, kind), block.count("\n", 0, start)
        spaced = _spaced(tokens) if tokens is not None else {}
        left, equals, right = _parted(spaced.get(1, ""), sign)
        if not equals:
            return None
        codes[first] = left.rstrip(), right.lstrip()
        codes |= {first + number - 1: (None, code) for number, code in spaced.items() if number > 1}
        inside |= set(range(first + 1, first + 1 + text.count("\n")))
    found = []
    for number, line in enumerate(lines):
        _, mark, comment = line.partition("#")
        left, right = codes.get(number, (None, ""))
        found.append(_EquationLine(left, right, (mark + comment).rstrip() or None, number in inside))
    return found


def _parted(line: str, sign: str) -> tuple[str, str, str]:
    """A line at the first `sign` that stands in no bracket."""
    for place, character in enumerate(line):
        before = line[:place]
        depth = sum(map(before.count, "([")) - sum(map(before.count, ")]"))
        if character == "=" and not depth and line.startswith(sign, place):
            return before, sign, line[place + len(sign) :]
    return line, "", ""


# --- the walk ------------------------------------------------------------------------------------------------------


@dataclass
class _Bracket:
    """A flow collection that is open: its further lines start at `column`, or hang if its first line holds nothing."""

    column: int
    line_indent: int
    hangs: bool | None = None

    @property
    def indent(self) -> int:
        return self.line_indent + 2 * STEP if self.hangs else self.column

    @property
    def closing_indent(self) -> int:
        return self.line_indent + STEP if self.hangs else self.column - 1


@dataclass(frozen=True)
class _Level:
    """A block collection: the column in which its lines started, and that in which they start now."""

    column: int
    indent: int


class _Layout:
    def __init__(self, source: Source, diagnostics: Diagnostics):
        self.source, self.text, self.diagnostics = source, source.text, diagnostics
        self.position = 0
        self.lines: list[_Line] = []
        self.fresh = True  # what comes next starts a line
        self.after_colon = False
        self.levels: list[_Level] = []
        self.levels_before: list[_Level] = []
        self.brackets: list[_Bracket] = []
        self.equations: dict[int, list[_EquationLine]] = {}
        self.equalities: dict[int, tuple[list[_EquationLine], int]] = {}
        self.width = 0

    def write(self, root: Mapping) -> str:
        self.read_equations(root)
        self.node(root, (), 0)
        self.skip(len(self.text), None)
        return _joined(self.lines)

    def read_equations(self, root: Mapping) -> None:
        """Finds the width of the left sides: the equations of a file have their = in one column."""
        self.read_equalities(root)
        table = root.entries["equations"].node if "equations" in root.entries else None
        for entry in table.entries.values() if isinstance(table, Mapping) else ():
            node = entry.node
            if isinstance(node, Scalar) and node.quote == "|":
                lines = _equation_lines(node.text)
                if lines is not None:
                    self.equations[node.span.start] = lines
                    self.width = max(self.width, *(len(line.left or "") for line in lines))

    def read_equalities(self, root: Mapping) -> None:
        """The equations that are solved: each group has its == in one column."""
        table = root.entries["solve"].node if "solve" in root.entries else None
        for entry in table.entries.values() if isinstance(table, Mapping) else ():
            inner = entry.node.entries.get("equations") if isinstance(entry.node, Mapping) else None
            node = inner.node if inner is not None else None
            if isinstance(node, Scalar) and node.quote == "|":
                lines = _equation_lines(node.text, "==")
                if lines is not None:
                    width = max(len(line.left or "") for line in lines)
                    self.equalities[node.span.start] = lines, width

    # --- what stands between values ----------------------------------------------------------------------------

    def skip(self, end: int, indent: int | None) -> None:
        """Passes white space and comments up to `end`, where something follows that `indent` would put on a line."""
        while self.position < end:
            rest = self.text[self.position : end]
            white = len(rest) - len(rest.lstrip(" \t\r\n"))
            if white:
                self.blank(rest[:white])
                self.position += white
            elif rest.startswith("#"):
                self.comment(indent, end)
            elif self.fresh and (marker := _MARKER.match(self.text, self.position)) and self.column(self.position) == 0:
                self.put(marker.group().rstrip(), 0)
                self.position = marker.end()
            else:
                self.refuse(self.position)

    def column(self, place: int) -> int:
        return place - (self.text.rfind("\n", 0, place) + 1)

    def blank(self, white: str) -> None:
        breaks = white.count("\n")
        empty_lines = breaks - (not self.fresh)  # the first break ends the line that is open
        self.fresh = self.fresh or breaks > 0
        if empty_lines > 0 and self.lines and self.lines[-1].text:
            self.lines.append(_Line(0, ""))

    def comment(self, indent: int | None, following: int) -> None:
        end = self.text.find("\n", self.position)
        end = len(self.text) if end < 0 else end
        words = self.text[self.position : end].rstrip()
        if self.fresh:
            self.lines.append(_Line(self.comment_indent(indent, following), "", words))
        else:
            self.lines[-1].comment = words
        self.fresh = False
        self.position = end

    def comment_indent(self, indent: int | None, following: int) -> int:
        """A comment above a line goes with it; one that ends a block, and stands as far in, stays with the block."""
        if self.brackets:
            return self.line_start(0)
        column = self.column(self.position)
        if indent is not None and column == self.column(following):
            return indent
        levels = sorted({*self.levels, *self.levels_before}, key=lambda level: (level.column, -level.indent))
        outside = [level for level in levels if level.column <= column]
        return outside[-1].indent if outside else levels[0].indent if levels else 0

    def line_start(self, indent: int) -> int:
        """Where a line starts that would start at `indent` in block style."""
        if not self.brackets:
            return indent
        bracket = self.brackets[-1]
        if bracket.hangs is None:
            bracket.hangs = self.fresh
        return bracket.indent

    def put(self, code: str, indent: int, apart: bool = True) -> None:
        """Adds `code` to the open line, or starts a line with it."""
        indent = self.line_start(indent)
        if self.fresh:
            self.lines.append(_Line(indent, code))
        else:
            line = self.lines[-1]
            apart = self.after_colon or (apart and line.code[-1:] not in ("[", "{", ""))
            line.code += (" " if apart else "") + code
        self.fresh = self.after_colon = False
        self.levels_before = list(self.levels)

    def next_is(self, character: str) -> bool:
        """Whether `character` comes next, behind white space and comments."""
        return self.text.startswith(character, self.upcoming)

    @property
    def upcoming(self) -> int:
        gap = _GAP.match(self.text, self.position)
        return gap.end() if gap else self.position

    def punctuation(self, character: str, indent: int) -> None:
        """Writes `character`, which comes next."""
        place = self.upcoming
        self.skip(place, indent)
        if not self.text.startswith(character, place):
            self.refuse(place)
        self.put(character, indent, apart=character not in ":,")
        self.after_colon = character == ":"
        self.position = place + 1

    def refuse(self, place: int) -> NoReturn:
        self.diagnostics.error(
            "RB004", "punctuation that specs do not use", Span(self.source, place, place + 1), help="write 'key: value'"
        )
        raise CompileError(self.diagnostics.errors)

    # --- values ------------------------------------------------------------------------------------------------

    def node(self, node: Node, path: KeyPath, indent: int) -> None:
        """Writes a value whose own lines start at `indent`."""
        if isinstance(node, Scalar):
            self.scalar(node, path, indent)
        elif self.brackets or self.text[node.span.start] in "[{":
            self.flow(node, path, indent)
        else:
            self.levels.append(_Level(self.column(node.span.start), indent))
            if isinstance(node, Mapping):
                for key, entry in node.entries.items():
                    self.entry(entry.key, entry.node, (*path, key), indent)
            else:
                for number, item in enumerate(node.items):
                    self.punctuation("-", indent)
                    self.node(item, (*path, number), indent + STEP)
            self.levels.pop()

    def entry(self, key: Span, node: Node, path: KeyPath, indent: int) -> None:
        """Writes `key: value`, or in flow style a key alone."""
        self.skip(key.start, indent)
        self.put(self.key(self.text[key.start : key.end]), indent)
        self.position = key.end
        if not self.brackets or self.next_is(":"):
            self.punctuation(":", indent)
        self.node(node, path, indent + STEP)

    def flow(self, node: Mapping | Sequence, path: KeyPath, indent: int) -> None:
        bracketed = self.text[node.span.start] in "[{"  # a single pair in a list may do without: [a: 1]
        if bracketed:
            self.skip(node.span.start, indent)
            self.put(self.text[node.span.start], indent)
            self.position = node.span.start + 1
            line = self.lines[-1]
            self.brackets.append(_Bracket(line.indent + len(line.code), line.indent))
        if isinstance(node, Mapping):
            for number, (name, entry) in enumerate(node.entries.items()):
                if number:
                    self.punctuation(",", indent)
                self.entry(entry.key, entry.node, (*path, name), indent)
        else:
            for number, item in enumerate(node.items):
                if number:
                    self.punctuation(",", indent)
                self.node(item, (*path, number), indent)
        if bracketed:
            if self.next_is(","):
                self.punctuation(",", indent)
            self.close()

    def close(self) -> None:
        place = self.upcoming
        self.skip(place, None)
        bracket = self.brackets.pop()
        if self.fresh:
            self.lines.append(_Line(bracket.closing_indent, self.text[place]))
        else:
            self.lines[-1].code += (" " if self.after_colon else "") + self.text[place]
        self.fresh = self.after_colon = False
        self.position = place + 1

    def key(self, raw: str) -> str:
        if raw[:1] not in ("'", '"') or (raw[0] == '"' and "\\" in raw):
            return raw
        text = raw[1:-1] if raw[0] == '"' else raw[1:-1].replace("''", "'")
        return text if stands_plain(text, flow=bool(self.brackets), key=True) else _quoted(text, raw)

    def scalar(self, node: Scalar, path: KeyPath, indent: int) -> None:
        if node.span.start == node.span.end:
            return
        self.skip(node.span.start, indent)
        form = _form(path) if isinstance(node.value, str) else None
        if node.quote in ("|", ">"):
            self.block(node, form, indent)
            return
        raw = self.text[node.span.start : node.span.end]
        first, *others = self.several(raw, node.quote, form) if "\n" in raw else [self.single(node, raw, form)]
        self.put(first, indent)
        for line in others:
            self.lines.append(_Line(self.line_start(indent) if line else 0, line))
        self.position = node.span.end

    def single(self, node: Scalar, raw: str, form: str | None) -> str:
        """A value on one line: quoted only if it has to be."""
        text = node.text
        if node.quote == '"' and "\\" in raw and not stands_plain(text, flow=bool(self.brackets)):
            return raw
        if form == "expression":
            text = " ".join(_expression_lines(text) or [text])
        elif form == "equation":
            sign = "=" if _equation_lines(text) else "=="
            lines = _equation_lines(text, sign) or []
            if len(lines) == 1 and lines[0].left is not None and lines[0].comment is None:
                text = f"{lines[0].left} {sign} {lines[0].right}"
        if text == node.text and not node.quote:
            return raw
        return text if stands_plain(text, flow=bool(self.brackets)) else _quoted(text, raw)

    def several(self, raw: str, quote: str, form: str | None) -> list[str]:
        """A value over several lines, without the indentation of all but the first."""
        lines = [line.lstrip(" \t") for line in raw.split("\n")]
        if quote == '"' and "\\" in raw:
            return lines
        lines = [line.rstrip(" \t") for line in lines]
        if form == "expression" and "''" not in raw:
            joined = "\n".join(lines)
            found = _expression_lines(joined[len(quote) : len(joined) - len(quote)])
            if found and len(found) == len(lines):
                return (quote + "\n".join(found) + quote).split("\n")
        return lines

    def block(self, node: Scalar, form: str | None, indent: int) -> None:
        """A literal (|) or folded (>) value, which keeps its lines as they are unless they are equations."""
        end_of_header = self.text.find("\n", node.span.start, node.span.end)
        end_of_header = node.span.end if end_of_header < 0 else end_of_header
        header = _HEADER.match(self.text[node.span.start : end_of_header])
        if header is None:
            self.refuse(node.span.start)  # it has the tag !
        style, chomping = header[1], header[2] or header[4]
        lines = self.text[end_of_header + 1 : node.span.end].split("\n")
        if not lines[-1]:
            lines.pop()
        first = next((line for line in lines if line.strip(" ")), max(lines, key=len, default=""))
        margin = len(first) - len(first.lstrip(" "))
        if header[3]:
            margin = self.levels[-1].column + int(header[3])
        contents = [line[margin:] for line in lines]
        while contents and not contents[-1] and chomping != "+":
            contents.pop()
        if not node.text.endswith("\n") and node.text:
            chomping = "-"  # the file ends without a line break, which it will have
        further = self.block_lines(node, contents, form, indent)
        hidden = next((line.code for line in further if line.code), "").startswith((" ", "\t"))  # the margin, from YAML
        self.put(f"{style}{STEP if hidden else ''}{chomping}", indent)
        self.lines[-1].comment = header[5]
        self.lines += further
        self.position = min(end_of_header + 1 + sum(len(line) + 1 for line in lines[: len(contents)]), len(self.text))
        self.fresh = True

    def block_lines(self, node: Scalar, contents: list[str], form: str | None, indent: int) -> list[_Line]:
        equations, width, sign = self.equations.get(node.span.start), self.width, "="
        if node.span.start in self.equalities:
            (equations, width), sign = self.equalities[node.span.start], "=="
        if equations is not None:
            lines = [self.equation_line(line, indent, width, sign) for line in equations]
            return [line for k, line in enumerate(lines) if line.text or (k and lines[k - 1].text)]
        if form == "expression" and node.quote == "|":
            contents = _expression_lines("\n".join(contents)) or contents
        return [_Line(indent if line else 0, line) for line in contents]

    def equation_line(self, line: _EquationLine, indent: int, width: int, sign: str) -> _Line:
        if line.left is not None:
            return _Line(indent, f"{line.left:<{width}} {sign} {line.right}".rstrip(), line.comment, equation=True)
        if line.inside:
            indent += width + len(f" {sign} ")
        return _Line(indent if line.right or line.comment else 0, line.right, line.comment, equation=True)


def _quoted(text: str, raw: str) -> str:
    if not text.isprintable():
        return raw
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
