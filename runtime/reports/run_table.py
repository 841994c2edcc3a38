"""One table of trained runs: where each stands in a sweep, what came of it, and how far it is from equilibrium."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbcc.runtime.reports.gains import GainRow, gains
from rbcc.runtime.storage.run_directory import Run, seed_folders
from rbcc.runtime.storage.sweep_directory import Sweep, is_sweep
from rbcc.runtime.verification import stored
from rbcc.runtime.verification.results import Equilibrium


VERDICTS = ("individual", "team")
GAINS = ("gain", "gain_lower", "gain_upper")


def runs_in(folder: str | Path) -> tuple[list[Run], tuple[str, ...]]:
    """The runs in a folder (of a sweep, of seeds, of one run) and the paths that are swept.

    Raises RunError if it is none of these, or one is damaged.
    """
    folder = Path(folder)
    if is_sweep(folder):
        sweep = Sweep.open(folder)
        return sweep.stored_runs(), sweep.varied
    return [Run.open(path) for path in seed_folders(folder)] or [Run.open(folder)], ()


def run_table(runs: Sequence[Run], varied: Sequence[str] = ()) -> pd.DataFrame:
    """A row for each run: values at the paths `varied`, `seed`, `status`, rewards and indicators, verdicts, gains.

    Rewards and indicators are means per step over the last record of the training, those that `rbcc train` ends with;
    NaN of a run that is not finished. `individual` and `team` are the verdicts, empty of a run that is not verified.
    `gain` is the largest gain of any type from deviating alone, as a share of what it is compared with (0.01 is 1 %),
    with its bounds, and `gain_of` the type; NaN if that is 0, or if no run is verified, in which case all these columns
    are left out. Raises RunError if a file is damaged.
    """
    results = [stored.of_run(run) if run.finished else None for run in runs]
    rows = [
        {
            **{path: run.manifest["overrides"].get(path) for path in varied},
            "seed": run.manifest["seed"],
            "status": run.manifest["status"],
            **_last_record(run),
            **(_judged(result) if any(results) else {}),
        }
        for run, result in zip(runs, results, strict=True)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    last = [name for name in names if name in (*VERDICTS, *GAINS, "gain_of")]
    frame = pd.DataFrame(rows, columns=pd.Index([name for name in names if name not in last] + last))
    for path in varied:
        frame[path] = _numbers(frame[path])
    return frame


def _last_record(run: Run) -> dict[str, float]:
    records = run.metrics if run.finished else []
    last = records[-1] if records else {}
    return {name: value for name, value in last.items() if name.startswith(("reward.", "indicator."))}


def _judged(result: Equilibrium | None) -> dict[str, Any]:
    if result is None:
        return {**dict.fromkeys(VERDICTS, ""), **dict.fromkeys(GAINS, math.nan), "gain_of": ""}
    verdicts = {name: str(result.verdicts[name]) for name in VERDICTS}
    largest = max((row for row in gains(result) if "individual" in row.deviation), key=_size, default=None)
    if largest is None:
        return {**verdicts, **dict.fromkeys(GAINS, math.nan), "gain_of": ""}
    shares = (largest.share, largest.share_lower, largest.share_upper)
    amounts = [math.nan if share is None else share for share in shares]
    return {**verdicts, **dict(zip(GAINS, amounts, strict=True)), "gain_of": largest.type}


def _size(row: GainRow) -> float:
    if row.share is not None:
        return row.share
    return math.inf if row.gain else 0.0


def _numbers(texts: Iterable[Any]) -> list[Any]:
    """Numbers, if all of the texts are."""
    texts = list(texts)
    try:
        values = [float(text) for text in texts]
    except (TypeError, ValueError):
        return texts
    return [int(value) for value in values] if all(value.is_integer() for value in values) else values


def table_of(folder: str | Path) -> pd.DataFrame:
    """The table of the runs in a folder. Raises RunError if it has none."""
    return run_table(*runs_in(folder))
