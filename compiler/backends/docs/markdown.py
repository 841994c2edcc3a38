"""A page as Markdown: formulas in ```math blocks, as GitHub, GitLab and VS Code show, the timing of a step as text."""

import re
from itertools import zip_longest

from rbcc.compiler.backends.docs.document import (
    Block,
    Code,
    Equations,
    Formula,
    Heading,
    Inline,
    Name,
    Page,
    Paragraph,
    Table,
    Timing,
    printable,
    stage_lines,
)
from rbcc.compiler.backends.docs.math import aligned


COLUMN = 26  # letters in a column of the diagram


def markdown(page: Page) -> str:
    """The page as one Markdown file."""
    return "\n\n".join([f"# {escape(page.title)}", *map(_block, page.blocks)]) + "\n"


def escape(words: str) -> str:
    """Words as Markdown text on one line: nothing in them is markup or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|~$#!^&])", r"\\\1", printable(words))


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {escape(text.strip())}"
        case Paragraph(parts):
            line = "".join(map(_inline, parts)).strip()
            return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", line)  # would start a list or underline a heading
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *([_cell(part) for part in row] for row in rows)]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Equations(rows):
            formulas = "\n".join(aligned((row.left, row.relation, row.right) for row in rows))
            notes = [f"- {_code(row.name)}: {escape(row.note)}" for row in rows if row.note]
            return "\n".join([_fenced("math", formulas), *([""] if notes else []), *notes])
        case Timing():
            return _fenced("text", diagram(block))


def _fence(text: str, shortest: int) -> str:
    """Backticks that do not end within `text`."""
    return "`" * max(shortest, *(len(run) + 1 for run in re.findall("`+", text)), 1)


def _fenced(language: str, text: str) -> str:
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _inline(part: Inline) -> str:
    match part:
        case Code(text) | Formula(_, text) | Name(_, text):
            return _code(text)
    return escape(part)


def _cell(part: Inline) -> str:
    shown = _inline(part)
    return shown if isinstance(part, str) else shown.replace("|", r"\|")


def _code(text: str) -> str:
    text = printable(text)
    fence, pad = _fence(text, 1), " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def diagram(timing: Timing) -> str:
    """The stages of a step as columns of text, with an arrow from each to the next."""
    last = len(timing.stages) - 1
    heads = [
        f"{stage.title} ".ljust(COLUMN - 3, "─") + ("─> " if k < last else "─┐ ")
        for k, stage in enumerate(timing.stages)
    ]
    rows = [heads, [stage.when for stage in timing.stages], [""] * (last + 1)]
    columns = [
        [printable(words) if kind == "group" else f"  {words}" for kind, words in stage_lines(stage, COLUMN - 2)]
        for stage in timing.stages
    ]
    rows += [list(row) for row in zip_longest(*columns, fillvalue="")]
    lines = ["".join(cell.ljust(COLUMN) for cell in row).rstrip() for row in rows]
    return "\n".join([*lines, "", "The next step starts with what is then known."])
