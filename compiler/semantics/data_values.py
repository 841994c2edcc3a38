"""Lists of numbers and CSV files as values of parameters and starts of states."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Label, Source, Span, suggest
from rbcc.compiler.diagnostics.other_languages import number_trap
from rbcc.compiler.ir.types import Kind, Time
from rbcc.compiler.schema.spec import DataFile
from rbcc.compiler.semantics.context import Context
from rbcc.compiler.source import KeyPath, Node, Scalar, Sequence as List
from rbcc.compiler.syntax import LARGEST, MAX_DIGITS
from rbcc.compiler.util.text import counted


MAX_BYTES = 16_000_000
MAX_ROWS = 1_000_000
MAX_BAD_CELLS = 10

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_WRITTEN = re.compile(rf"({_NUMBER.pattern})\s*(%|/\s*([0-9]+))?")
_CELL = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*)')


def written_number(context: Context, node: Node, help: str | None = None) -> Fraction | None:
    """The number that `node` holds, also if it is written as 1/3 or 5%, or None after an error."""
    found = _WRITTEN.fullmatch(node.text.strip()) if isinstance(node, Scalar) and len(node.text) <= MAX_DIGITS else None
    part = int(found[6] or 1) if found else 0
    if found and part and abs(value := Fraction(found[1]) / (100 if found[5] == "%" else part)) <= LARGEST:
        return value
    context.diagnostics.error(
        "RB103", "a written number is needed here", node.span, expected="a number such as 2, 0.5, 1/3 or 5%", help=help
    )
    return None


class Tables:
    """Reads the tables of one context; a file is read once."""

    def __init__(self, context: Context):
        self.context = context
        self.document, self.diagnostics = context.document, context.diagnostics
        self.files: dict[Path, _Csv | None] = {}

    def read(self, symbol: ir.Symbol, path: KeyPath, values: list | DataFile) -> ir.Table | None:
        """The table that stands at `path`, for the members of the symbol's sets; None after an error."""
        counts = [self.context.names.agents[owner].count for owner in symbol.sets]
        if isinstance(values, DataFile):
            found: Sequence[float | bool] | None = self.from_file(symbol, path, values, counts)
        else:
            found = self.from_list(symbol, path, counts)
        if found is None:
            return None
        flags = all(isinstance(value, bool) for value in found)
        kind = Kind.FLAG if flags else Kind.NUMBER
        return ir.Table(tuple(found), symbol.type.axes, replace(symbol.type, kind=kind, time=Time.FIXED))

    # --- lists -------------------------------------------------------------------------------------------------

    def from_list(self, symbol: ir.Symbol, path: KeyPath, counts: list[int]) -> list[float | bool] | None:
        node = self.document.node(path)
        assert isinstance(node, List)
        if not counts:
            self.diagnostics.error(
                "RB110", f"'{symbol.name}' is a single number, not a list", node.span,
                help="what differs between agents stands under 'parameters' or 'state' of their type",
            )  # fmt: skip
            return None
        if not self.fits(node, symbol, 0):
            return None
        rows: Sequence[Node] = node.items if len(counts) == 2 else [node]
        flat = next((row for row in rows if not isinstance(row, List)), None)
        if flat is not None:
            self.diagnostics.error(
                "RB110", f"'{symbol.name}' is a list of lists, one for each {symbol.sets[0]}", flat.span,
                expected=f"a list of {counts[1]} numbers",
            )  # fmt: skip
            return None
        lists = [row for row in rows if isinstance(row, List)]
        if len(counts) == 2 and [row for row in lists if not self.fits(row, symbol, 1)]:
            return None
        cells = [item for row in lists for item in row.items]
        flags = [item.value for item in cells if isinstance(item, Scalar) and isinstance(item.value, bool)]
        if len(flags) == len(cells):
            return list(flags)
        numbers = [self.number(item) for item in cells]
        return None if None in numbers else numbers  # type: ignore[return-value]

    def fits(self, node: List, symbol: ir.Symbol, axis: int) -> bool:
        """Whether a list has one entry for each member of a set."""
        owner = symbol.sets[axis]
        count = self.context.names.agents[owner].count
        if len(node.items) == count:
            return True
        what = "lists" if axis + 1 < len(symbol.sets) else "values"
        self.diagnostics.error(
            "RB110", f"{len(node.items)} {what} for {count} agents of type '{owner}'", node.span,
            labels=self.counted(owner),
        )  # fmt: skip
        return False

    def counted(self, owner: str) -> tuple[Label, ...]:
        return (Label(self.document.span(("agents", owner, "count")), f"number of '{owner}' at"),)

    def number(self, node: Node) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
            return float(value)
        help = "a formula may stand in place of a whole list, and use the agent's index"
        found = written_number(self.context, node, help)
        return None if found is None else float(found)

    # --- files -------------------------------------------------------------------------------------------------

    def from_file(self, symbol: ir.Symbol, path: KeyPath, file: DataFile, counts: list[int]) -> list[float] | None:
        span = self.document.span((*path, "csv"))
        table = self.opened(self.document.file_beside(span, file.csv), span)
        if table is None:
            return None
        matrix = len(counts) == 2
        wanted = "key" if matrix else "column"
        if (file.column if matrix else file.key) is not None:
            other = "column" if matrix else "key"
            self.diagnostics.error(
                "RB111", f"'{symbol.name}' is {'a matrix' if matrix else 'one column'} of the file",
                self.document.key((*path, other)), help=f"remove '{other}'; '{wanted}' names the column",
            )  # fmt: skip
            return None
        columns = self.columns(table, path, file, matrix)
        if columns is None:
            return None
        sizes = [len(table.rows), *[len(columns)] * matrix]
        if not all(self.fits_file(table, symbol, axis, size) for axis, size in enumerate(sizes)):
            return None
        if matrix and not self.ordered(table, symbol, file, columns):
            return None
        numbers, bad = [], 0
        for number in range(1, len(table.cells)):
            for column in columns:
                value = self.cell(table, number, column)
                bad += value is None
                if bad > MAX_BAD_CELLS:
                    return None
                numbers.append(value)
        return None if bad else numbers

    def opened(self, path: Path, span: Span) -> "_Csv | None":
        if path not in self.files:
            self.files[path] = self.load(path, span)
        return self.files[path]

    def load(self, path: Path, span: Span) -> "_Csv | None":
        try:
            if path.is_dir():
                self.diagnostics.error("RB001", f"{path} is a folder", span, expected="a CSV file")
                return None
            if not path.is_file():
                near = [p.name for p in path.parent.glob("*.csv")] if path.parent.is_dir() else []
                close = suggest(path.name, near)
                help = f"did you mean '{close}'?" if close else "the name is relative to the spec that it stands in"
                self.diagnostics.error("RB001", f"there is no file {path}", span, help=help)
                return None
            if path.stat().st_size > MAX_BYTES:
                self.diagnostics.error("RB005", f"{path} has more than {MAX_BYTES:,} bytes", span)
                return None
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self.diagnostics.error(
                "RB001", f"{path} is not UTF-8 text (byte {error.start})", span, help="save it as CSV in UTF-8"
            )
            return None
        except OSError as error:
            self.diagnostics.error("RB001", f"{path} cannot be read: {error.strerror}", span)
            return None
        if text.count("\n") > MAX_ROWS:
            self.diagnostics.error("RB005", f"{path} has more than {MAX_ROWS:,} lines", span)
            return None
        return self.parsed(Source(str(path), text), span)

    def parsed(self, source: Source, span: Span) -> "_Csv | None":
        lines = source.text.split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        table = _Csv(source, list(map(_cells, lines)), Label(span, "the file is named at"))
        titles = table.cells[0] if lines else []
        separator = next((mark for mark in (";", "\t", "|") if lines and mark in lines[0]), None)
        wrong = next((k for k, row in enumerate(table.cells) if len(row) != len(titles)), None)
        open_quote = next((k for k, line in enumerate(lines) if line.count('"') % 2), None)
        if len(titles) == 1 and separator is not None:
            start = lines[0].index(separator)
            shown = "tabs" if separator == "\t" else f"'{separator}'"
            return self.refused(
                table, f"the columns are separated by {shown}", Span(source, start, start + 1),
                expected="commas, and decimals with a point: 0.5",
            )  # fmt: skip
        if open_quote is not None:
            message = "a quotation mark without its partner"
            return self.refused(table, message, table.line(open_quote), help="a cell must end in its line")
        if wrong is not None:
            found = len(table.cells[wrong])
            return self.refused(
                table, f"{counted(found, 'cell')}, but the first line has {len(titles)}", table.line(wrong),
                help='quote a cell that holds a comma: "a, b"; decimals are written with a point'
                if found > len(titles)
                else None,
            )  # fmt: skip
        if len(lines) < 2:
            expected = "a first line with the names of columns, and a row for each agent"
            return self.refused(table, "a file without rows", table.line(0), expected=expected)
        return table

    def refused(self, table: "_Csv", message: str, span: Span, **details: str | None) -> None:
        self.diagnostics.error("RB111", message, span, labels=(table.used,), **details)

    def columns(self, table: "_Csv", path: KeyPath, file: DataFile, matrix: bool) -> list[int] | None:
        """The positions of the columns that are read."""
        name, word = (file.key, "key") if matrix else (file.column, "column")
        if name is None and not matrix:
            self.diagnostics.error(
                "RB111", "which column of the file is meant?", self.document.key(path),
                expected=f"'column', one of: {', '.join(table.header)}",
            )  # fmt: skip
            return None
        places = [k for k, title in enumerate(table.header) if title == name]
        if name is not None and len(places) != 1:
            close = suggest(name, table.header)
            self.diagnostics.error(
                "RB111", f"{table.source.name} has {'more than one' if places else 'no'} column '{name}'",
                self.document.span((*path, word)), expected=f"one of: {', '.join(table.header[:20])}",
                help=f"did you mean '{close}'?" if close and not places else None,
                labels=(Label(table.line(0), "its columns are named at"),),
            )  # fmt: skip
            return None
        return [k for k in range(len(table.header)) if k not in places] if matrix else places

    def fits_file(self, table: "_Csv", symbol: ir.Symbol, axis: int, found: int) -> bool:
        owner = symbol.sets[axis] if symbol.sets else None
        count = self.context.names.agents[owner].count if owner else 1
        if found == count:
            return True
        what = "columns of numbers" if axis else "row" if found == 1 else "rows"
        for_ = f"{count} agents of type '{owner}'" if owner else f"'{symbol.name}', which is a single number"
        last = table.line(0 if axis else len(table.rows))
        self.diagnostics.error(
            "RB110", f"{found} {what} for {for_}", last,
            labels=(table.used, *(self.counted(owner) if owner else ())),
        )  # fmt: skip
        return False

    def ordered(self, table: "_Csv", symbol: ir.Symbol, file: DataFile, columns: list[int]) -> bool:
        """Whether rows and columns of pairs within one type have the same names in the same order, if both have any."""
        if file.key is None or symbol.sets[0] != symbol.sets[1]:
            return True
        key = table.header.index(file.key)
        for number, (row, column) in enumerate(zip(table.rows, columns, strict=False), start=1):
            if row[key].strip() != table.header[column]:
                message = f"row '{row[key].strip()}' stands where column '{table.header[column]}' does"
                self.refused(table, message, table.cell(number, key), help="put rows and columns in the same order")
                return False
        return True

    def cell(self, table: "_Csv", number: int, column: int) -> float | None:
        """The number in a column of a line, counted from 0."""
        text = table.cells[number][column].strip()
        title, trap = table.header[column], number_trap(text)
        if _NUMBER.fullmatch(text) and trap is not None:
            self.diagnostics.error(
                "RB112", trap.message, table.cell(number, column), labels=(table.used,), help=trap.help
            )
            return None
        if _NUMBER.fullmatch(text) and abs(value := float(text)) <= LARGEST:
            return value
        self.diagnostics.error(
            "RB112", f"'{text}' in column '{title}' is not a number" if text else f"an empty cell in column '{title}'",
            table.cell(number, column), expected="a number such as 0.5", labels=(table.used,),
            help=f"write decimals with a point: {text.replace(',', '.')}" if re.fullmatch(r"[-+]?\d+,\d+", text) else None,
        )  # fmt: skip
        return None


@dataclass(frozen=True)
class _Csv:
    """The cells of a file, line by line, and where a spec names it."""

    source: Source
    cells: list[list[str]]
    used: Label

    @property
    def header(self) -> list[str]:
        return [title.strip() for title in self.cells[0]]

    @property
    def rows(self) -> list[list[str]]:
        return self.cells[1:]

    def line(self, number: int) -> Span:
        start = self.source.offset(number, 0)
        return Span(self.source, start, start + max(1, len(self.source.line(number + 1))))

    def cell(self, number: int, column: int) -> Span:
        match = list(_scanned(self.source.line(number + 1)))[column]
        start = self.source.offset(number, match.start())
        return Span(self.source, start, start + max(1, match.end() - match.start()))


def _cells(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    return [match[2] if match[1] is None else match[1].replace('""', '"') for match in _scanned(line)]


def _scanned(line: str) -> Iterator[re.Match[str]]:
    """The cells of a line; a quoted one may hold commas, and quotation marks that are doubled."""
    place = 0
    while place <= len(line):
        match = _CELL.match(line, place)
        assert match is not None  # any text is a cell
        yield match
        place = match.end() + 1
