"""Tables of numbers: as text for people, and as files for papers and for other programs."""

import re
from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pandas as pd

from rbcc.compiler.backends.docs.math import text as latex_text
from rbcc.compiler.util.atomic_write import check_writable, write_file
from rbcc.runtime.errors import RunError


DIGITS = 4

_NEEDS = {".csv": None, ".tex": None, ".dta": None, ".parquet": "pyarrow", ".xlsx": "openpyxl"}
"""The endings that are known, and the package that each needs."""
ENDINGS = ", ".join(_NEEDS)

_LONGEST, _LONGEST_LABEL = 32, 80  # characters of a name and of a label in Stata
_PLAIN_POWERS = range(7)  # of ten: larger numbers are written with a power
_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?)(?:e([+-]\d+))?|(-?)inf|nan")


def table(frame: pd.DataFrame, digits: int = DIGITS) -> str:
    """`frame` for people: one line per row, with so many digits, errors in brackets behind what they belong to."""
    return _shown(frame, digits).to_string(index=frame.index.names != [None])


def _shown(frame: pd.DataFrame, digits: int = DIGITS) -> pd.DataFrame:
    shown = pd.DataFrame(index=frame.index)
    for column in frame.columns:
        if column.endswith("_error") or column == "error":
            continue
        error = frame.get(f"{column}_error", frame.get("error") if column in ("response", "difference") else None)
        values = [_text(value, digits) for value in frame[column]]
        if error is not None:
            values = [f"{value} ({_text(own, 2)})" for value, own in zip(values, error, strict=True)]
        shown[column] = values
    return shown


def _text(value: object, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def check_table(path: Path) -> None:
    """Raises RunError if no table can be written to `path`, as its ending is unknown or a package is missing, OSError
    if nothing can be written there. For work that takes long, before it begins."""
    ending = path.suffix
    if ending not in _NEEDS:
        raise RunError(f"'{path.name}': {ending or 'no ending'}; write to one of {ENDINGS}")
    package = _NEEDS[ending]
    if package and find_spec(package) is None:
        raise RunError(f"{ending} needs {package}: python3 -m pip install {package}; or write .csv")
    check_writable(path)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes `frame` as the ending of `path` says: .csv, .parquet, .xlsx, .dta for Stata, or .tex for a LaTeX tabular
    with the rules of booktabs.

    The tabular has what is printed, of moments one column per indicator. Raises what `check_table` raises.
    """
    check_table(path)
    plain = frame.reset_index() if frame.index.name else frame
    match path.suffix:
        case ".tex":
            shown = _shown(frame)
            data = _tabular(shown.T.reset_index(names="") if frame.index.name else shown).encode()
        case ".dta":
            data = _stata(plain)
        case ".parquet":
            data = plain.to_parquet(index=False)
        case ".xlsx":
            buffer = BytesIO()
            plain.to_excel(buffer, index=False)
            data = buffer.getvalue()
        case _:
            data = plain.to_csv(index=False).encode()
    write_file(path, data)


def _tabular(shown: pd.DataFrame) -> str:
    """A LaTeX tabular of cells that are text; columns with numbers stand to the right."""
    rows = [list(map(str, row)) for row in shown.astype(str).to_numpy()]
    columns = "".join("r" if any(map(_is_number, column)) else "l" for column in zip(*rows, strict=True))
    head = " & ".join(latex_text(str(name)) for name in shown.columns)
    lines = [rf"\begin{{tabular}}{{{columns or 'l' * shown.shape[1]}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    lines += [" & ".join(map(_cell, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _is_number(cell: str) -> bool:
    value, bracket, error = cell.partition(" (")
    return bool(_NUMBER.fullmatch(value) and (not bracket or _NUMBER.fullmatch(error.removesuffix(")"))))


def _cell(cell: str) -> str:
    """A cell in LaTeX: a number in its notation, a number that is missing as a dash."""
    return _NUMBER.sub(_latex_number, cell) if _is_number(cell) else latex_text(cell)


def _latex_number(found: re.Match[str]) -> str:
    if found[0] == "nan":
        return "--"
    if found[2] is None:
        return rf"${found[4]}\infty$"
    sign, digits, power = found[1], found[2], found[3]
    if power is not None and int(power) in _PLAIN_POWERS:
        digits, power = f"{float(f'{digits}e{power}'):.0f}", None
    if power is not None:
        return rf"${sign}{digits} \times 10^{{{int(power)}}}$"
    return f"$-{digits}$" if sign else digits


def _stata(frame: pd.DataFrame) -> bytes:
    """A file of Stata, in which dots in names are underscores; labels of the variables have the names as they are."""
    names = _stata_names(frame.columns)
    plain = pd.DataFrame(dict(zip(names, (frame[column] for column in frame), strict=True)))
    for name in names:
        if not pd.api.types.is_numeric_dtype(plain[name]):
            plain[name] = plain[name].fillna("").astype(str).astype(object)
    labels: dict[Hashable, str] = {
        name: str(column)[:_LONGEST_LABEL] for name, column in zip(names, frame.columns, strict=True)
    }
    buffer = BytesIO()
    plain.to_stata(buffer, write_index=False, version=118, variable_labels=labels)
    return buffer.getvalue()


def _stata_names(columns: Sequence[str] | pd.Index) -> list[str]:
    """Names that Stata takes, each once: letters, digits and underscores, not too long."""
    found: list[str] = []
    for column in columns:
        name = re.sub(r"\W", "_", str(column), flags=re.ASCII)
        name = (f"_{name}" if not name or name[0].isdigit() else name)[:_LONGEST]
        number = 1
        while name in found:
            number += 1
            name = f"{name[: _LONGEST - len(f'_{number}')]}_{number}"
        found.append(name)
    return found
