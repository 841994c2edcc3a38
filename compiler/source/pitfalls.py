"""What YAML makes of things that people write, in words: only for messages."""

import re

import yaml

from rbcc.compiler.diagnostics import Label, Source, Span
from rbcc.compiler.diagnostics.other_languages import Trap


# --- keys without a value --------------------------------------------------------------------------------------------


def empty_trap(key: str, rest: str) -> Trap:
    """What became of the value of `key`, behind which `rest` stands in the line."""
    rest = rest.strip()
    if rest.startswith(":"):
        if rest[1:].strip().startswith("#"):
            return Trap(f"'{key}' has no value: what follows # is a comment", 'quote a value that holds #: "..."')
        fix = "write a value behind ':', indent what belongs below it, or remove the key"
        return Trap(f"'{key}' has no value", fix)
    if found := re.match(r"(\w[\w.]*):(\S.*)", key):
        return Trap(f"a space is missing after ':' in '{key}'", f"write {found.group(1)}: {found.group(2)}")
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", key):
        fix = "write numbers without commas, 1000 and 0.5"
        return Trap(f"'{key}' stands where a key is expected: inside {{ }} a comma ends a value", fix)
    if key.endswith((")", "]")):
        fix = "quote the expression before it"
        return Trap(f"'{key}' stands where a key is expected: inside {{ }} a comma ends a value", fix)
    return Trap(
        f"'{key}' has no value", "in { } a table is written {key: value, ...}; quote an expression with a comma"
    )


# --- YAML that cannot be read ----------------------------------------------------------------------------------------


def yaml_trap(source: Source, error: yaml.YAMLError) -> tuple[Trap, Span, tuple[Label, ...]]:
    """What the author probably did, where, and what else to look at."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        place = getattr(error, "position", 0)
        trap = Trap("a character that YAML does not allow", "remove it: an editor can show invisible characters")
        return trap, Span(source, place, place + 1), ()
    return _Reader(source, error, mark).trap()


class _Reader:
    """The lines around a place where YAML could not be read."""

    def __init__(self, source: Source, error: yaml.YAMLError, mark: yaml.Mark):
        self.source = source
        self.problem = str(getattr(error, "problem", ""))
        self.context = str(getattr(error, "context", ""))
        opened = getattr(error, "context_mark", None) or mark
        # Not by the lines of the marks: YAML ends lines at characters that do not end those of a `Source`.
        self.place, self.opened = (min(m.index, len(source.text)) for m in (mark, opened))
        self.row, self.opened_row = (source.position(place)[0] - 1 for place in (self.place, self.opened))

    def line(self, row: int) -> str:
        return self.source.line(row + 1) if 0 <= row < len(self.source.line_starts) else ""

    def before(self, row: int) -> str:
        """The last line above `row` that is neither empty nor a comment."""
        above = (self.line(number) for number in range(row - 1, -1, -1))
        return next((text for text in above if text.strip() and not text.lstrip().startswith("#")), "")

    def here(self, length: int = 1) -> Span:
        return Span(self.source, self.place, self.place + length)

    def there(self, length: int = 1) -> Span:
        return Span(self.source, self.opened, self.opened + length)

    def whole(self, row: int) -> Span:
        text, start = self.line(row), self.source.line_starts[row]
        return Span(self.source, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))

    def trap(self) -> tuple[Trap, Span, tuple[Label, ...]]:
        line, problem = self.line(self.row), self.problem
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent or self.source.text[self.place : self.place + 1] == "\t":
            tab = self.source.line_starts[self.row] + max(indent.find("\t"), 0)
            return Trap("a tab in the indentation", "indent with spaces"), Span(self.source, tab, tab + 1), ()
        if "cannot start any token" in problem:
            return *self.wrong_start(line), ()
        if "could not find expected ':'" in problem:
            return *self.no_colon(), ()
        if "expected node content" in problem:
            character = self.source.text[self.place : self.place + 1]
            message = f"a value is missing before '{character}'" if character.strip() else "a value is missing here"
            return Trap(message, "write the value; text that starts with a sign stands in quotes"), self.here(), ()
        if "expected ',' or" in problem:
            return self.bracket()
        if "mapping values are not allowed" in problem:
            return *self.second_colon(line), ()
        if "quoted scalar" in self.context:
            return *self.quoted(), ()
        if "block scalar" in self.context:
            sign = self.source.text[self.opened : self.opened + 1]
            return *self.plain(f"'{sign}' at the start of a value begins a block of text"), ()
        if after := re.search(r"(['\"])[^'\"]*$", self.source.text[max(0, self.place - 2) : self.place]):
            return *self.after_quotes(line, after.group(1)), ()
        if "block sequence entries" in problem:
            message = "'- ' begins an item of a list, which stands on a line of its own"
            return Trap(message, "write a minus sign without the space, a list as [a, b]"), self.here(), ()
        if "expected key" in problem or "expected <block end>" in problem or "block" in self.context:
            return self.indentation(line)
        return *self.plain(problem or "not valid YAML"), ()

    def plain(self, message: str) -> tuple[Trap, Span]:
        return Trap(message, 'put the value in quotes: "..."'), self.here()

    def wrong_start(self, line: str) -> tuple[Trap, Span]:
        character = self.source.text[self.place : self.place + 1]
        if line.lstrip().startswith(character):
            return Trap(f"a line cannot start with '{character}'", "a comment starts with #"), self.here()
        return self.plain(f"a value cannot start with '{character}'")

    def no_colon(self) -> tuple[Trap, Span]:
        """A line that YAML took for a key, in vain."""
        text = self.line(self.opened_row).strip()
        span = self.whole(self.opened_row)
        if found := re.match(r"(\w[\w.]*):(\S.*)", text):
            return Trap("a space is missing after ':'", f"write {found.group(1)}: {found.group(2)}"), span
        if re.match(r"\w+'?(\[[^\]]*\])?\s*=", text):
            message = "an equation outside a group, or with too little indentation"
            return Trap(message, "equations stand under 'name: |', all indented deeper than the name"), span
        if text.startswith(("//", "%", "--", "/*")):
            return Trap("this line is not a key with a value", "a comment starts with #"), span
        return Trap("':' is missing", f"write {text}:" if re.fullmatch(r"\w+", text) else "write key: value"), span

    def bracket(self) -> tuple[Trap, Span, tuple[Label, ...]]:
        opening = self.source.text[self.opened : self.opened + 1]
        closing = {"[": "]", "{": "}"}.get(opening, "]")
        label = (Label(self.there(), "the bracket was opened at"),)
        inside = self.source.text[self.opened + 1 : self.place]
        if self.row > self.opened_row and closing not in inside:
            return Trap(f"'{opening}' is never closed", f"write '{closing}' at the end of the line"), self.there(), ()
        rest = self.line(self.row)[self.place - self.source.line_starts[self.row] :]
        tail = re.search(rf"\{closing}\s*([-+*/^<>=]|if\b)", rest)
        if tail and re.search(r":\s*$", self.source.text[self.source.line_starts[self.opened_row] : self.opened]):
            name = "list" if opening == "[" else "table"
            fix = 'quote the expression: "..."; in an expression only ( ) group'
            return Trap(f"a value that starts with '{opening}' is a {name}", fix), self.there(), ()
        if re.match(r"\s*=", rest):
            return Trap("'=' in a table", "a key and its value are parted by ': '"), self.here(), label
        if rest.startswith(("[", "{")) and inside.strip():
            message = f"an expression with brackets inside {opening} {closing}"
            return Trap(message, f'quote it: "{_expression_at(inside + rest, len(inside))}"'), self.here(), label
        return Trap(f"',' or '{closing}' is missing, or an expression needs quotes", _QUOTES), self.here(), label

    def second_colon(self, line: str) -> tuple[Trap, Span]:
        column = self.place - self.source.line_starts[self.row]
        above = self.before(self.row)
        if re.search(r":\s", line[:column]):
            return Trap("a second ': ' in one value", _QUOTES), self.here()
        if above.lstrip().startswith(("//", "%", "--", "/*")):
            row = next(number for number in range(self.row - 1, -1, -1) if self.line(number) == above)
            return Trap("this line is not a key with a value", "a comment starts with #"), self.whole(row)
        if re.match(r"\s+\w+'?(\[[^\]]*\])?\s*=(?!=)", above):
            fix = "write a line with a name above them, such as 'market: |', and indent them below it"
            return Trap("the equations above belong to no group", fix), self.whole(self.row)
        own, other = (len(text) - len(text.lstrip()) for text in (line, above))
        if own > other and re.search(r":\s+\S", above):
            message = f"this line is indented deeper than the one above ({own} spaces and {other})"
            return Trap(message, f"'{above.split(':')[0].strip()}' has a value already: indent both alike"), self.whole(
                self.row
            )
        return Trap("': ' in a place where no key can stand", _QUOTES), self.here()

    def quoted(self) -> tuple[Trap, Span]:
        if "escape" in self.problem:
            return Trap("'\\' in double quotes begins an escape", "write '...' for text with a backslash"), self.here(2)
        return Trap(
            "these quotes are never closed", f"end the text with {self.source.text[self.opened : self.opened + 1]}"
        ), self.there()

    def after_quotes(self, line: str, quote: str) -> tuple[Trap, Span]:
        start = self.place - self.source.line_starts[self.row]
        span = Span(self.source, self.place, self.source.line_starts[self.row] + len(line.rstrip()))
        if quote == "'" and "'" in line[start:]:
            message = "the text in '...' ends at the next ', which an expression uses for a next value"
            return Trap(message, 'use "..." around an expression with a prime'), span
        return Trap("text after the closing quotes", "put the whole expression between the quotes, or none of it"), span

    def indentation(self, line: str) -> tuple[Trap, Span, tuple[Label, ...]]:
        own, above = (len(text) - len(text.lstrip()) for text in (line, self.before(self.row)))
        if line.lstrip().startswith("- "):
            message = "an item of a list ('- ') where a key is expected"
            return Trap(message, "write key: value, or indent the list below its key"), self.whole(self.row), ()
        message = f"this line is indented by {own} spaces, the one above by {above}"
        label = (Label(self.there(), "the table that YAML puts it into starts at"),)
        return Trap(message, "indent the keys of one table alike"), self.whole(self.row), label


def _expression_at(text: str, place: int) -> str:
    """The expression around `place` in what stands inside { } or [ ] and after it: up to a comma or a bracket that
    is not its own."""
    start, end, depth = 0, len(text), 0
    for number, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        parts = depth < 0 or (depth == 0 and (character == "," or text[number : number + 2] == ": "))
        if parts and number < place:
            start, depth = number + 1, 0
        elif parts:
            end = number
            break
    return text[start:end].strip()


_QUOTES = "quote an expression that holds ': ', ' #', or (inside { }) ',', '[' or ']'"
