"""The result of a verification as a self-contained HTML page."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rbcc.compiler.backends.docs.document import Block, Heading, Paragraph, Table
from rbcc.compiler.backends.docs.html import Drawing, html_of
from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.reports.numbers import percent
from rbcc.runtime.reports.plots import BLUE, GREY, panels
from rbcc.runtime.reports.verification_text import (
    HEAD,
    explanations,
    findings,
    gain_rows,
    headlines,
    question,
    targets,
)
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.verification.best_response.search import CONSTANT, NONE, POLICY, Candidate
from rbcc.runtime.verification.results import Equilibrium, Estimate


def write_page(folder: str | Path, result: Equilibrium) -> Path:
    """Writes `equilibrium.html` into a run directory, beside the JSON file: verdicts, gains, curves, the battery, what
    else was found, and what repeats it."""
    run = Run.open(folder)
    path = run.folder / f"{result.name}.html"
    text = html_of(f"{run.manifest['model']}: how far from equilibrium?", list(_blocks(result)))
    write_file(path, text.encode())
    return path


def _blocks(result: Equilibrium) -> Iterator[Block | Drawing]:
    yield Table(("question", "verdict"), tuple((words, str(verdict)) for words, verdict in headlines(result)))
    yield Heading(2, "Gains")
    yield Paragraph((question(result),))
    yield Table(HEAD, tuple(gain_rows(result)))
    estimates = [row.estimate for row in result.rows]
    if estimates:
        yield Heading(2, "Gain against budget")
        yield Paragraph(
            (
                "In %, on selection seeds, of each deviator that learns, by its iterations. Blue is the best of them, the "
                f"dashed line the best that does not learn, the dotted one the target, {targets(result)}.",
            )
        )
        yield Drawing(_curves(estimates))
    if told := [(who, *part) for who, parts in explanations(result.rows) for part in parts]:
        yield Heading(2, "What pays")
        yield Table(("who", "by which choices", "adds"), tuple(told))
    yield Heading(2, "Battery")
    yield Table(
        ("type", "deviation", "source", "tried", "best of them", "gain in %"),
        tuple(row for one in estimates for row in _battery(one)),
    )
    yield Heading(2, "Findings")
    yield Table(("",), tuple((line,) for line in findings(result)))
    yield Heading(2, "Indicators")
    yield Table(
        ("indicator", "mean"),
        tuple((name, "-" if value is None else f"{value:.6g}") for name, value in result.indicators.items()),
    )
    yield Heading(2, "To repeat it")
    yield Table(("setting", "value"), tuple(_flat(result.settings)))


def _battery(one: Estimate) -> Iterator[tuple[str, ...]]:
    """A row for each source of deviations."""
    for source, candidates in _by(one.battery, lambda candidate: candidate.source).items():
        best = max(candidates, key=lambda candidate: candidate.gain)
        names = {candidate.name for candidate in candidates if candidate.iterations} or {
            candidate.name for candidate in candidates
        }
        share = percent(best.gain / one.scale if one.scale else None)
        yield one.agent, " = ".join(one.notions), source, str(len(names)), best.words, share


def _by(candidates: Iterable[Candidate], key: Callable[[Candidate], str]) -> dict[str, list[Candidate]]:
    """Candidates by what `key` gives, in their order."""
    found: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        found.setdefault(key(candidate), []).append(candidate)
    return found


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield before + name, str(value)


def _curves(estimates: list[Estimate]) -> str:
    """Gain against iterations, a panel for each estimate, as an SVG element."""
    import matplotlib

    figure, axes = panels(len(estimates), "")
    for ax, one in zip(axes, estimates, strict=True):
        to_percent = 100 / one.scale if one.scale else 1.0
        learned = [candidate for candidate in one.battery if candidate.iterations]
        for name, curve in _by(learned, lambda candidate: candidate.origin).items():
            best = name == one.curve[-1].origin
            points = [candidate.iterations for candidate in curve], [c.gain * to_percent for c in curve]
            ax.plot(*points, color=BLUE if best else GREY, linewidth=1.5 if best else 0.7, marker="o", markersize=2)
        still = max(candidate.gain for candidate in one.battery if candidate.source in (NONE, CONSTANT, POLICY))
        ax.axhline(still * to_percent, color=BLUE, linewidth=0.7, linestyle="--")
        ax.axhline(one.limit * to_percent, color=GREY, linewidth=0.7, linestyle=":")
        ax.set_title(one.question, fontsize=9, color=GREY)
        ax.set_yscale("symlog", linthresh=max(one.limit * to_percent, 0.01))
        ax.tick_params(colors=GREY)
        ax.patch.set_visible(False)
        for spine in ax.spines.values():
            spine.set_color(GREY)
    figure.patch.set_visible(False)
    text = StringIO()
    # Letters as text, in the colours of the page; nothing that changes from one time to the next.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rbcc"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    return re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)  # as wide as the page
