"""What the commands show while they work, and when training is done."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rbcc.runtime.reports.numbers import duration, number, percent, rate
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import Progress


PLAIN_SECONDS = 5.0


class TrainingDisplay:
    """Live progress in a terminal; a line every few seconds where output is not a terminal."""

    def __init__(self, name: str):
        self.console = Console(highlight=False)
        self.live = Live(console=self.console, refresh_per_second=4, transient=True)
        self.name = name
        self.folder: Path | None = None
        self.runs: list[Path] = []
        self.phase = -1
        self.began = self.shown = time.monotonic()
        self.first = 0
        self.gains: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        self.say("checking")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()
        if kind is KeyboardInterrupt and self.phase >= 0:
            self.console.print("stopped; the same command with --resume goes on from here")

    def say(self, message: str) -> None:
        """Shows what is being done while there is no progress to show."""
        if self.console.is_terminal:
            self.live.update(Text(f"{self.name}: {message}"))
        else:
            self.console.print(f"{self.name}: {message}", soft_wrap=True)

    def update(self, runs: Sequence[Run], progress: Sequence[Progress]) -> None:
        now, run, place = time.monotonic(), runs[0], progress[0]
        if self.runs != (folders := [own.folder for own in runs]):
            self.runs, self.phase = folders, -1
            if self.folder != (folder := _folder(runs)):
                self.folder = folder
                self.console.print(f"run directory: {folder}")
        if place.phase != self.phase:
            # Speed counts from the end of a phase's first stretch.
            self.phase, self.began, self.first = place.phase, now, place.iteration
        phases = run.model.ir.phases
        phase = phases[place.phase]
        done = place.iteration - self.first
        speed = done / (now - self.began) if done else math.nan
        left = (phase.iterations - place.iteration) / speed if done else math.nan
        several = "seeds" if len({own.manifest["seed"] for own in runs}) == len(runs) else "runs"
        seeds = f", mean of {len(runs)} {several}" if len(runs) > 1 else ""
        head = (
            f"{run.manifest['model']}, phase {phase.name} ({place.phase + 1} of {len(phases)}): iteration "
            f"{place.iteration} of {phase.iterations}, {rate(speed)}, {duration(left)} left in this phase{seeds}"
        )
        metrics = _mean([own.metrics for own in progress])
        self.gains |= {name: value for name, value in metrics.items() if name.startswith("gain")}
        metrics |= self.gains  # as last measured
        if self.console.is_terminal:
            bar = ProgressBar(total=phase.iterations, completed=place.iteration, width=60)
            self.live.update(Group(Text(head), bar, _metrics(metrics)))
        elif now - self.shown > PLAIN_SECONDS or place.iteration == phase.iterations:
            self.shown = now
            values = ", ".join(f"{name} {value}" for name, value in _words(metrics))
            self.console.print(f"{head}; {values}", soft_wrap=True)

    def closing(self, runs: Sequence[Run]) -> str:
        """What came out, and what to do next."""
        records = [run.metrics[-1] for run in runs]
        run, many = runs[0], len(runs) > 1
        words = f"last iterations, means per step{', of all seeds (lowest to highest seed)' if many else ''}:"
        lines = [f"{run.manifest['model']} trained in {duration(run.manifest['seconds'])}; {words}"]
        for name, value in _shown(_mean(records)):
            own = [dict(_shown(record))[name] for record in records]
            spread = f"  ({number(min(own))} to {number(max(own))})" if many else ""
            lines.append(f"  {name:<28}{number(value)}{spread}")
        for one, record in zip(runs, records, strict=True):
            indicators = {k.partition(".")[2]: v for k, v in record.items() if k.startswith("indicator.")}
            seed = f"seed {one.manifest['seed']}: " if many else ""
            found = one.model.module.alive(indicators)
            lines += [f"  {seed}not alive: {name} does not hold" for name, ok in found.items() if not bool(ok)]
        next_ = "\n".join(f"next: rbcc verify {one.folder}" for one in runs)
        return "\n".join([*lines, f"run directory: {_folder(runs)}", next_])


def _folder(runs: Sequence[Run]) -> Path:
    """The run directory, or that in which all of them lie."""
    return Path(os.path.commonpath([run.folder for run in runs]))


def _mean(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each metric that all `records` have."""
    names = [name for name in records[0] if all(isinstance(record.get(name), float) for record in records)]
    return {name: math.fsum(record[name] for record in records) / len(records) for name in names}


def _shown(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Rewards, indicators and violations, under the names that people know."""
    for prefix, words in (("reward.", "reward of "), ("indicator.", ""), ("violation.", "violation of ")):
        for name, value in metrics.items():
            if name.startswith(prefix):
                yield words + name.removeprefix(prefix), value


def _words(metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """What is shown of a training that goes on: `_shown`, and the gains of single agents as last measured."""
    for name, value in _shown(metrics):
        yield name, number(value)
    for name, value in metrics.items():
        if name.startswith("gain."):
            share = metrics.get(name.replace("gain", "gain_share", 1))
            yield f"gain of {name.removeprefix('gain.')}", number(value) if share is None else percent(share)


def _metrics(metrics: dict[str, float]) -> Table:
    table = Table.grid(padding=(0, 3))
    cells = [f"{name} {value}" for name, value in _words(metrics)]
    cells += [f"{n.replace('.', ' of ')} {number(v)}" for n, v in metrics.items() if n.startswith("entropy.")]
    for start in range(0, len(cells), 3):
        table.add_row(*cells[start : start + 3])
    return table


@contextmanager
def verification_display() -> Iterator[Any]:
    console = Console(highlight=False, stderr=True)
    began = time.monotonic()
    if console.is_terminal:
        with console.status("compiling") as status:
            yield lambda message: status.update(f"{duration(time.monotonic() - began)}  {message}")
    else:
        yield lambda message: console.print(f"{duration(time.monotonic() - began):>6}  {message}", soft_wrap=True)
