"""Lists of numbers and CSV files as values of parameters and starts of states."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Label, Source, Span, messages
from rbcc.compiler.diagnostics.messages.phrases import named_at
from rbcc.compiler.diagnostics.other_languages import number_trap
from rbcc.compiler.ir.types import Kind, Time
from rbcc.compiler.schema.spec import DataFile
from rbcc.compiler.semantics.context import Context
from rbcc.compiler.source import KeyPath, Node, Scalar, Sequence as List
from rbcc.compiler.syntax import LARGEST, MAX_DIGITS


MAX_BYTES = 16_000_000
MAX_ROWS = 1_000_000
MAX_BAD_CELLS = 10

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_WRITTEN = re.compile(rf"({_NUMBER.pattern})\s*(%|/\s*([0-9]+))?")
_CELL = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*)')


def written_number(context: Context, node: Node, help: str | None = None) -> Fraction | None:
    """The number that `node` holds, also if it is written as 1/3 or 5%, or None after an error."""
    short = isinstance(node, Scalar) and len(node.text) <= MAX_DIGITS
    match = _WRITTEN.fullmatch(node.text.strip()) if isinstance(node, Scalar) and short else None
    divisor = int(match[6] or 1) if match else 0
    if match and divisor and abs(value := Fraction(match[1]) / (100 if match[5] == "%" else divisor)) <= LARGEST:
        return value
    context.diagnostics.add(messages.data.not_a_written_number(node.span, help))
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
            numbers: Sequence[float | bool] | None = self.from_file(symbol, path, values, counts)
        else:
            numbers = self.from_list(symbol, path, counts)
        if numbers is None:
            return None
        flags = all(isinstance(value, bool) for value in numbers)
        kind = Kind.FLAG if flags else Kind.NUMBER
        return ir.Table(tuple(numbers), symbol.type.axes, replace(symbol.type, kind=kind, time=Time.FIXED))

    # --- lists -------------------------------------------------------------------------------------------------

    def from_list(self, symbol: ir.Symbol, path: KeyPath, counts: list[int]) -> list[float | bool] | None:
        node = self.document.node(path)
        assert isinstance(node, List)
        if not counts:
            self.diagnostics.add(messages.data.list_for_a_number(symbol.name, node.span))
            return None
        if not self.fits(node, symbol, 0):
            return None
        rows: Sequence[Node] = node.items if len(counts) == 2 else [node]
        flat = next((row for row in rows if not isinstance(row, List)), None)
        if flat is not None:
            self.diagnostics.add(messages.data.not_a_list_of_lists(symbol.name, symbol.sets[0], counts[1], flat.span))
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
        lists = axis + 1 < len(symbol.sets)
        self.diagnostics.add(
            messages.data.another_length(len(node.items), lists, owner, count, node.span, self.count_span(owner))
        )
        return False

    def count_span(self, owner: str) -> Span:
        return self.document.span(("agents", owner, "count"))

    def number(self, node: Node) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
            return float(value)
        written = written_number(self.context, node, messages.data.FORMULA_INSTEAD)
        return None if written is None else float(written)

    # --- files -------------------------------------------------------------------------------------------------

    def from_file(self, symbol: ir.Symbol, path: KeyPath, file: DataFile, counts: list[int]) -> list[float] | None:
        span = self.document.span((*path, "csv"))
        table = self.opened(self.document.file_beside(span, file.csv), span)
        if table is None:
            return None
        matrix = len(counts) == 2
        if (file.column if matrix else file.key) is not None:
            span = self.document.key((*path, "column" if matrix else "key"))
            self.diagnostics.add(messages.data.key_or_column(symbol.name, matrix, span))
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
                self.diagnostics.add(messages.data.folder(str(path), span))
                return None
            if not path.is_file():
                near = [p.name for p in path.parent.glob("*.csv")] if path.parent.is_dir() else []
                self.diagnostics.add(messages.data.no_file(str(path), path.name, near, span))
                return None
            if path.stat().st_size > MAX_BYTES:
                self.diagnostics.add(messages.data.file_too_large(str(path), MAX_BYTES, "bytes", span))
                return None
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self.diagnostics.add(messages.data.not_utf8(str(path), error.start, span))
            return None
        except OSError as error:
            self.diagnostics.add(messages.data.unreadable(str(path), error.strerror, span))
            return None
        if text.count("\n") > MAX_ROWS:
            self.diagnostics.add(messages.data.file_too_large(str(path), MAX_ROWS, "lines", span))
            return None
        return self.parsed(Source(str(path), text), span)

    def parsed(self, source: Source, span: Span) -> "_Csv | None":
        lines = source.text.split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        table = _Csv(source, list(map(_cells, lines)), named_at(span))
        titles = table.cells[0] if lines else []
        separator = next((mark for mark in (";", "\t", "|") if lines and mark in lines[0]), None)
        wrong = next((k for k, row in enumerate(table.cells) if len(row) != len(titles)), None)
        open_quote = next((k for k, line in enumerate(lines) if line.count('"') % 2), None)
        finding = None
        if len(titles) == 1 and separator is not None:
            start = lines[0].index(separator)
            finding = messages.data.separated_otherwise(separator, Span(source, start, start + 1), table.used)
        elif open_quote is not None:
            finding = messages.data.open_quotation(table.line(open_quote), table.used)
        elif wrong is not None:
            finding = messages.data.uneven_row(len(table.cells[wrong]), len(titles), table.line(wrong), table.used)
        elif len(lines) < 2:
            finding = messages.data.file_without_rows(table.line(0), table.used)
        if finding is not None:
            self.diagnostics.add(finding)
            return None
        return table

    def columns(self, table: "_Csv", path: KeyPath, file: DataFile, matrix: bool) -> list[int] | None:
        """The positions of the columns that are read."""
        name, word = (file.key, "key") if matrix else (file.column, "column")
        if name is None and not matrix:
            self.diagnostics.add(messages.data.which_column(table.header, self.document.key(path)))
            return None
        places = [k for k, title in enumerate(table.header) if title == name]
        if name is not None and len(places) != 1:
            at, first_line = self.document.span((*path, word)), table.line(0)
            problem = messages.data.column_twice if places else messages.data.no_column
            self.diagnostics.add(problem(table.source.name, name, table.header, at, first_line))
            return None
        return [k for k in range(len(table.header)) if k not in places] if matrix else places

    def fits_file(self, table: "_Csv", symbol: ir.Symbol, axis: int, size: int) -> bool:
        """Whether a file has as many rows, or columns of numbers, as the symbol has members along an axis."""
        owner = symbol.sets[axis] if symbol.sets else None
        count = self.context.names.agents[owner].count if owner else 1
        if size == count:
            return True
        last = table.line(0 if axis else len(table.rows))
        if owner is None:
            self.diagnostics.add(messages.data.rows_for_a_number(size, symbol.name, last, table.used))
            return False
        declared = self.count_span(owner)
        self.diagnostics.add(messages.data.another_size(size, axis > 0, owner, count, last, table.used, declared))
        return False

    def ordered(self, table: "_Csv", symbol: ir.Symbol, file: DataFile, columns: list[int]) -> bool:
        """Whether rows and columns of pairs within one type have the same names in the same order, if both have any."""
        if file.key is None or symbol.sets[0] != symbol.sets[1]:
            return True
        key = table.header.index(file.key)
        for number, (row, column) in enumerate(zip(table.rows, columns, strict=False), start=1):
            if row[key].strip() != table.header[column]:
                finding = messages.data.another_order(
                    row[key].strip(), table.header[column], table.cell(number, key), table.used
                )
                self.diagnostics.add(finding)
                return False
        return True

    def cell(self, table: "_Csv", number: int, column: int) -> float | None:
        """The number in a column of a line, counted from 0."""
        text = table.cells[number][column].strip()
        trap = number_trap(text)
        if _NUMBER.fullmatch(text) and trap is not None:
            span = table.cell(number, column)
            self.diagnostics.add(messages.data.number_trap(trap.message, trap.help, span, table.used))
            return None
        if _NUMBER.fullmatch(text) and abs(value := float(text)) <= LARGEST:
            return value
        decimals = text.replace(",", ".") if re.fullmatch(r"[-+]?\d+,\d+", text) else None
        finding = messages.data.not_a_number(
            text, table.header[column], decimals, table.cell(number, column), table.used
        )
        self.diagnostics.add(finding)
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
