import bisect
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from rbcc.compiler.diagnostics.codes import CODES


MAX_ERRORS = 100
"""After so many errors a spec is not looked at any further."""

MAX_PLACES = 10
"""So many places one message shows besides its own."""

CLOSE = 0.6  # difflib's measure of likeness, from 0 to 1
LONGEST_NAME = 100  # that is worth a comparison with others


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Source:
    """A text that a message can point into: a spec file, or one `--set` override."""

    name: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(k + 1 for k, character in enumerate(self.text) if character == "\n")
        return starts

    def offset(self, line: int, column: int) -> int:
        """The offset of a zero-based (line, column)."""
        if line >= len(self.line_starts):
            return len(self.text)
        return min(self.line_starts[line] + column, len(self.text))

    def position(self, offset: int) -> tuple[int, int]:
        """The one-based (line, column) of an offset."""
        line = bisect.bisect_right(self.line_starts, offset) - 1
        return line + 1, offset - self.line_starts[line] + 1

    def line(self, number: int) -> str:
        """The text of a one-based line, without its line feed."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@dataclass(frozen=True)
class Span:
    """The characters `start:end` of a source."""

    source: Source
    start: int
    end: int

    @property
    def place(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"

    @property
    def words(self) -> str:
        """The characters as one line."""
        return " ".join(self.source.text[self.start : self.end].split())


@dataclass(frozen=True)
class Label:
    """A second place that explains the first, such as where a name was declared."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One finding.

    `message` says what is wrong, in one line. `expected` and `found` are shown as a pair where both help;
    `help` is the likely fix. `code` is stable: documentation and tests refer to it.
    """

    code: str
    severity: Severity
    message: str
    span: Span | None = None
    expected: str | None = None
    found: str | None = None
    help: str | None = None
    labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unregistered diagnostic code {self.code}")


def error(code: str, message: str, span: Span | None = None, **details: Any) -> Diagnostic:
    return Diagnostic(code, Severity.ERROR, message, span, **details)


def warning(code: str, message: str, span: Span | None = None, **details: Any) -> Diagnostic:
    return Diagnostic(code, Severity.WARNING, message, span, **details)


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, or None if none is close."""
    pool = sorted(set(candidates))
    folded = {c.casefold(): c for c in pool}
    if name.casefold() in folded:
        return folded[name.casefold()]
    if len(name) > LONGEST_NAME:
        return None
    close = difflib.get_close_matches(name, [c for c in pool if _may_be_close(name, c)], n=1, cutoff=CLOSE)
    return close[0] if close else None


def _may_be_close(a: str, b: str) -> bool:
    """Whether `a` and `b` can have a ratio of `CLOSE`: quick to tell, for pools of thousands of names.

    They have at most those characters in common that are left of each without the ones that the other has not.
    """
    letters, others = set(a), set(b)
    common = min(len(a) - len(letters - others), len(b) - len(others - letters))
    return 2 * common >= CLOSE * (len(a) + len(b))
