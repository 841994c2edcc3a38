"""A page as a LaTeX document that compiles with pdflatex, lualatex and xelatex."""

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
    stage_lines,
)
from rbcc.compiler.backends.docs.math import aligned, text, width


_HEAD = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{textcomp}
\usepackage{amsmath}
\usepackage{longtable}
\usepackage{array}
\usepackage[margin=25mm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{6pt}
\allowdisplaybreaks
\sloppy
"""
_HEADINGS = {2: "section*", 3: "subsection*", 4: "paragraph"}


def latex(page: Page) -> str:
    """The page as one LaTeX file."""
    body = "\n\n".join(map(_block, page.blocks))
    title = f"\\title{{{text(page.title)}}}\n\\date{{}}\n\\author{{}}\n"
    return f"{_HEAD}{title}\\begin{{document}}\n\\maketitle\n\n{body}\n\n\\end{{document}}\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, words):
            return f"\\{_HEADINGS[level]}{{{text(words)}}}"
        case Paragraph(parts):
            return "".join(map(_inline, parts))
        case Table(head, rows):
            return _table(
                [[rf"\textit{{{word}}}" for word in head], *([_inline(cell) for cell in row] for row in rows)]
            )
        case Equations(rows):
            formulas = "\n".join(aligned(((row.left, row.relation, row.right) for row in rows), "align*"))
            notes = [rf"\item \texttt{{{text(row.name)}}}: {text(row.note)}" for row in rows if row.note]
            return "\n".join([formulas, *([r"\begin{itemize}", *notes, r"\end{itemize}"] if notes else [])])
        case Timing(stages):
            cells = [
                r" \newline ".join(
                    text(words) if kind == "group" else rf"\hspace*{{1em}}\texttt{{{text(words)}}}"
                    for kind, words in stage_lines(stage, 20)
                )
                for stage in stages
            ]
            heads = [rf"\textbf{{{text(stage.title)}}} \newline {text(stage.when)}" for stage in stages]
            return _table([heads, cells])


def _table(rows: list[list[str]]) -> str:
    """A table over the width of the page, its columns in proportion to what is in them."""
    needs = [min(max(width(row[k]) for row in rows), 45) + 3 for k in range(len(rows[0]))]
    shares = [0.94 * need / sum(needs) for need in needs]
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{share:.3f}\textwidth}}" for share in shares)
    head, *others = (" & ".join(row) + r" \\" for row in rows)
    return "\n".join([rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", head, r"\hline", *others, r"\end{longtable}"])


def _inline(part: Inline) -> str:
    match part:
        case Code(words):
            return rf"\texttt{{{text(words)}}}"
        case Formula(formula):
            return rf"\({formula}\)"
        case Name(formula, words):
            return rf"\({formula}\)" + (rf" \texttt{{{text(words)}}}" if part.looks_different else "")
    return text(part)
