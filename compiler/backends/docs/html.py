"""A page as self-contained HTML: formulas as MathML, the timing of a step as SVG, no script and nothing to load."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rbcc.compiler.backends.docs.document import (
    Block,
    Code,
    Equation,
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
from rbcc.compiler.backends.docs.mathml import mathml


COLUMN, GAP, LINE, LETTERS = 232, 28, 16, 27  # of the diagram: widths, height of a line, letters in a line

_STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --soft: #667085; --fill: #f5f7fa; --accent: #2457a6; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4150; --soft: #98a2b3; --fill: #1d2330; --accent: #86b0f0; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { margin-bottom: .3rem; color: var(--accent); } h4 { margin: 1rem 0 .2rem; color: var(--soft); font-weight: 600; }
code { font-size: .88em; }
nav ul { columns: 3 14rem; padding-left: 1.2rem; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
.data th { text-align: left; color: var(--soft); font-weight: 500; }
.data th, .data td { padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.equations td { padding: .3rem .25rem; vertical-align: middle; }
.equations td:first-child { text-align: right; }
.equations .note { color: var(--soft); font-size: .88em; padding-left: 1.5rem; }
math { font-size: 1.08em; } math .word { font-style: italic; } math .bold { font-weight: bold; }
math .cases mtd { text-align: left; padding: .1em .5em .1em 0; }
svg text { fill: currentColor; font: 12px ui-monospace, monospace; } svg .title { font: 600 15px system-ui, sans-serif; }
svg .group { fill: var(--accent); } svg .when { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg rect { fill: var(--fill); stroke: var(--line); } svg path { fill: none; stroke: var(--soft); stroke-width: 1.5; }
"""


@dataclass(frozen=True)
class Drawing:
    """A picture: the text of an SVG element."""

    svg: str


def html(page: Page) -> str:
    """The page as one HTML file."""
    return html_of(page.title, page.blocks)


def html_of(title: str, blocks: Sequence[Block | Drawing]) -> str:
    """Blocks, and pictures, as one HTML file."""
    sections = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    contents = "".join(f'<li><a href="#{_anchor(block.text)}">{_text(block.text)}</a></li>' for block in sections)
    body = "\n".join(map(_block, blocks))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_text(title)}</h1>\n<nav><ul>{contents}</ul></nav>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block | Drawing) -> str:
    match block:
        case Drawing(svg):
            return f'<div class="wide">{svg}</div>'
        case Heading(level, text):
            anchor = f' id="{_anchor(text)}"' if level == 2 else ""
            return f"<h{level}{anchor}>{_text(text)}</h{level}>"
        case Paragraph(parts):
            return f"<p>{''.join(map(_inline, parts))}</p>"
        case Table(head, rows):
            cells = "".join(f"<th>{_text(word)}</th>" for word in head)
            lines = ("".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rows)
            body = "".join(f"<tr>{line}</tr>" for line in lines)
            return f'<div class="wide"><table class="data"><tr>{cells}</tr>{body}</table></div>'
        case Equations(rows):
            return f'<div class="wide"><table class="equations">{"".join(map(_equation, rows))}</table></div>'
        case Timing():
            return _diagram(block)


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            return f"<code>{_text(text)}</code>"
        case Formula(latex):
            return mathml(latex)
        case Name(latex, text):
            return mathml(latex) + (f" <code>{_text(text)}</code>" if part.looks_different else "")
    return _text(part)


def _equation(equation: Equation) -> str:
    """A row for each line of the right side, and one for the comment."""
    rows, left = "", equation.left
    for number, line in enumerate(equation.right):
        shown = f"{{}} {line}" if number else line  # the sign at its start is not a sign of a number
        relation = mathml(equation.relation) if number == 0 and equation.relation else ""
        start = mathml(left) if number == 0 and left else ""
        rows += f"<tr><td>{start}</td><td>{relation}</td><td>{mathml(shown, large=True)}</td></tr>"
    if equation.note:
        rows += f'<tr><td></td><td></td><td class="note">{_text(equation.note)}</td></tr>'
    return rows


def _text(words: str) -> str:
    return escape(printable(words))


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


# --- the diagram of a step -----------------------------------------------------------------------------------------


def _diagram(timing: Timing) -> str:
    """The stages of a step as columns with arrows between them, and one from the last back to the first."""
    columns = [list(stage_lines(stage, LETTERS)) for stage in timing.stages]
    height = 64 + LINE * max(map(len, columns))
    width = len(columns) * (COLUMN + GAP) - GAP
    drawn = ""
    for number, (stage, lines) in enumerate(zip(timing.stages, columns, strict=True)):
        left = number * (COLUMN + GAP)
        drawn += f'<rect x="{left}" y="1" width="{COLUMN}" height="{height}" rx="8"/>'
        drawn += f'<text class="title" x="{left + 12}" y="24">{_text(stage.title)}</text>'
        drawn += f'<text class="when" x="{left + 12}" y="41">{_text(stage.when)}</text>'
        for line, (kind, words) in enumerate(lines):
            indent = 12 if kind == "group" else 24
            drawn += f'<text class="{kind}" x="{left + indent}" y="{66 + LINE * line}">{_text(words)}</text>'
        if number:
            drawn += _arrow(f"M{left - GAP + 3} 20 H{left - 4}", left - 4, 20)
    first, last, below = COLUMN / 2, width - COLUMN / 2, height + 24
    drawn += _arrow(f"M{last} {height + 3} V{below} H{first} V{height + 6}", first, height + 5, up=True)
    drawn += f'<text class="when" x="{width / 2 - 30}" y="{below - 6}">the next step</text>'
    return (
        f'<div class="wide"><svg viewBox="0 0 {width + 2} {below + 6}" width="{width}" role="img" '
        f'aria-label="timing of a step">{drawn}</svg></div>'
    )


def _arrow(path: str, x: float, y: float, *, up: bool = False) -> str:
    head = f"M{x - 4} {y + 6} L{x} {y} L{x + 4} {y + 6}" if up else f"M{x - 6} {y - 4} L{x} {y} L{x - 6} {y + 4}"
    return f'<path d="{path}"/><path d="{head}"/>'
