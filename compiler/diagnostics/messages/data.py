"""Lists of numbers and CSV files as values."""

from collections.abc import Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean
from rbcc.compiler.util.text import counted


# --- lists -----------------------------------------------------------------------------------------------------------


def not_a_written_number(span: Span, help: str | None) -> Diagnostic:
    return error(
        "RB103", "a written number is needed here", span, expected="a number such as 2, 0.5, 1/3 or 5%", help=help
    )


FORMULA_INSTEAD = "a formula may stand in place of a whole list, and use the agent's index"


def list_for_a_number(name: str, span: Span) -> Diagnostic:
    return error(
        "RB110",
        f"'{name}' is a single number, not a list",
        span,
        help="values that differ between agents stand under 'parameters' or 'state' of their type",
    )


def not_a_list_of_lists(name: str, agent: str, length: int, span: Span) -> Diagnostic:
    return error(
        "RB110",
        f"'{name}' is a list of lists, one for each {agent}",
        span,
        expected=f"a list of {length} numbers",
    )


def another_length(length: int, lists: bool, agent: str, count: int, span: Span, declared: Span) -> Diagnostic:
    """A list of `length` values, or lists, for the `count` agents of a type; `declared` is where that stands."""
    return error(
        "RB110",
        f"{counted(length, 'list' if lists else 'value')} for {counted(count, 'agent')} of type '{agent}'",
        span,
        labels=(_number_of(agent, declared),),
    )


def _number_of(agent: str, declared: Span) -> Label:
    return Label(declared, f"number of '{agent}' at")


# --- files -----------------------------------------------------------------------------------------------------------


def folder(path: str, span: Span) -> Diagnostic:
    return error("RB001", f"{path} is a folder", span, expected="a CSV file")


def no_file(path: str, name: str, near: Sequence[str], span: Span) -> Diagnostic:
    """`near` are the names of the files beside it."""
    help = did_you_mean(name, near, "the name is relative to the spec in which it stands")
    return error("RB001", f"there is no file {path}", span, help=help)


def file_too_large(path: str, most: int, unit: str, span: Span) -> Diagnostic:
    return error("RB005", f"{path} has more than {most:,} {unit}", span)


def not_utf8(path: str, byte: int, span: Span) -> Diagnostic:
    return error("RB001", f"{path} is not UTF-8 text (byte {byte})", span, help="save it as CSV in UTF-8")


def unreadable(path: str, reason: str | None, span: Span) -> Diagnostic:
    return error("RB001", f"{path} cannot be read: {reason}", span)


def file_without_rows(span: Span, used: Label) -> Diagnostic:
    return error(
        "RB111",
        "a file without rows",
        span,
        expected="a first line with the names of columns, and a row for each agent",
        labels=(used,),
    )


def separated_otherwise(separator: str, span: Span, used: Label) -> Diagnostic:
    shown = "tabs" if separator == "\t" else f"'{separator}'"
    return error(
        "RB111",
        f"the columns are separated by {shown}",
        span,
        expected="commas, and decimals with a point: 0.5",
        labels=(used,),
    )


def open_quotation(span: Span, used: Label) -> Diagnostic:
    return error(
        "RB111", "a quotation mark without its partner", span, help="a cell must end in its line", labels=(used,)
    )


def uneven_row(cells: int, titles: int, span: Span, used: Label) -> Diagnostic:
    return error(
        "RB111",
        f"{counted(cells, 'cell')}, but the first line has {titles}",
        span,
        help='quote a cell that holds a comma: "a, b"; decimals are written with a point' if cells > titles else None,
        labels=(used,),
    )


# --- columns, rows and cells -----------------------------------------------------------------------------------------


def key_or_column(name: str, matrix: bool, span: Span) -> Diagnostic:
    """A matrix names its `key`, a list its `column`; the file has the wrong one of the two."""
    wrong, right = ("column", "key") if matrix else ("key", "column")
    return error(
        "RB111",
        f"'{name}' is {'a matrix' if matrix else 'one column'} of the file",
        span,
        help=f"remove '{wrong}'; '{right}' names the column",
    )


def which_column(titles: Sequence[str], span: Span) -> Diagnostic:
    return error("RB111", "which column of the file is meant?", span, expected=f"'column', one of: {', '.join(titles)}")


def no_column(file: str, name: str, titles: Sequence[str], span: Span, first_line: Span) -> Diagnostic:
    return error(
        "RB111",
        f"{file} has no column '{name}'",
        span,
        expected=f"one of: {', '.join(titles[:20])}",
        help=did_you_mean(name, titles),
        labels=(Label(first_line, "its columns are named at"),),
    )


def column_twice(file: str, name: str, titles: Sequence[str], span: Span, first_line: Span) -> Diagnostic:
    others = [title for title in titles if title != name]
    return error(
        "RB111",
        f"{file} has {titles.count(name)} columns '{name}'",
        span,
        help="rename all but one of them" + (f", or read another: {', '.join(others[:20])}" if others else ""),
        labels=(Label(first_line, "its columns are named at"),),
    )


def rows_for_a_number(rows: int, name: str, span: Span, used: Label) -> Diagnostic:
    return error("RB110", f"{counted(rows, 'row')} for '{name}', which is a single number", span, labels=(used,))


def another_size(
    size: int, columns: bool, agent: str, count: int, span: Span, used: Label, declared: Span
) -> Diagnostic:
    """A file with `size` rows, or `columns` of numbers, for the `count` agents of a type."""
    shown = counted(size, "column of numbers", "columns of numbers") if columns else counted(size, "row")
    return error(
        "RB110",
        f"{shown} for {counted(count, 'agent')} of type '{agent}'",
        span,
        labels=(used, _number_of(agent, declared)),
    )


def another_order(row: str, column: str, span: Span, used: Label) -> Diagnostic:
    return error(
        "RB111",
        f"row '{row}' stands where column '{column}' does",
        span,
        help="put rows and columns in the same order",
        labels=(used,),
    )


def number_trap(message: str, help: str, span: Span, used: Label) -> Diagnostic:
    return error("RB112", message, span, help=help, labels=(used,))


def not_a_number(text: str, title: str, decimals: str | None, span: Span, used: Label) -> Diagnostic:
    """`decimals` is the number that a cell with a decimal comma is meant to be."""
    return error(
        "RB112",
        f"'{text}' in column '{title}' is not a number" if text else f"an empty cell in column '{title}'",
        span,
        expected="a number such as 0.5",
        help=f"write decimals with a point: {decimals}" if decimals else None,
        labels=(used,),
    )
