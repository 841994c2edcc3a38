"""Results from disk, and what a result was made of."""

from collections.abc import Mapping
from pathlib import Path

from rbcc.runtime import solve as tries
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.run_table import run_table
from rbcc.runtime.results.equilibrium import Equilibrium, Solution
from rbcc.runtime.results.folders import is_run
from rbcc.runtime.results.run import Run, Runs
from rbcc.runtime.results.sweep import RunTable, Sweep
from rbcc.runtime.storage.run_directory import seed_folders
from rbcc.runtime.storage.sweep_directory import is_sweep


Trained = str | Path | Run | Runs | Sweep | Equilibrium | Solution
"""A trained economy: the folder of a run, or what `train`, `verify`, `solve` or `load` returned."""

Spec = str | Path | Model | Run
"""An economy: a spec, a model that ships, a run directory, or what `compile`, `train` or `load` returned."""


def load(folder: str | Path) -> Run | Runs | Sweep | Solution:
    """Opens what `train`, `sweep` or `solve` wrote.

    Returns a `Run` for a run directory (with its verification as `equilibrium`, if there is one), `Runs` for a folder
    of seeds that were trained together, a `Sweep` for that of a sweep, and a `Solution` for a folder of tries. Raises
    RunError if the folder is none of these, is not finished or is damaged.

        run = rbcc.load("runs/cournot")
        run.equilibrium.to_frame()
    """
    folder = Path(folder)
    if is_run(folder):
        return Run.open(folder)
    if is_sweep(folder):
        return Sweep.open(folder)
    if seeds := seed_folders(folder):
        return Runs(folder, tuple(map(Run.open, seeds)))
    if (folder / "solution.json").is_file() or any(folder.glob("try-*/manifest.json")):
        return Solution.of(tries.load(folder))
    return Run.open(folder)  # which says what is wrong


def run_of(thing: Trained) -> Run:
    """The run that a result is of; of a solution that of the best try. Raises RunError if it is not of a single one."""
    found = load(thing) if isinstance(thing, str | Path) else thing
    if isinstance(found, Solution):
        return Run.open(found.best.folder)
    if isinstance(found, Equilibrium):
        if found.folder is None:
            raise RunError("this equilibrium is of networks without a run directory; train a run with rbcc.train")
        return Run.open(found.folder)
    if isinstance(found, Runs | Sweep):
        raise RunError(f"{found.folder} has {len(found)} runs; take one of them, such as rbcc.load(...)[0]")
    if isinstance(found, Run):
        return found
    raise RunError(f"expected a run or its folder, not {_kind(found)}; rbcc.train makes a run")


def table_of(thing: str | Path | Run | Runs | Sweep) -> RunTable:
    """The table of a sweep, of several seeds or of one run. Raises RunError if it is none of these."""
    found = load(thing) if isinstance(thing, str | Path) else thing
    if isinstance(found, Sweep):
        return found.table()
    if isinstance(found, Run | Runs):
        return RunTable(run_table([found] if isinstance(found, Run) else list(found)))
    raise RunError(f"expected a sweep, runs or their folder, not {_kind(found)}")


def spec_of(
    thing: Spec, overrides: Mapping[str, object] | None = None
) -> tuple[str | Path, Mapping[str, object] | None]:
    """Where a spec lies, and with which overrides it is compiled. Raises RunError if that is not known."""
    if isinstance(thing, Model):
        if thing.spec is None:
            raise RunError("this model does not know its spec; make it with rbcc.compile")
        return thing.spec, {**thing.overrides, **(overrides or {})}
    if isinstance(thing, Run):
        return thing.folder / "spec.yaml", overrides
    if isinstance(thing, str | Path):
        return (Path(thing) / "spec.yaml" if is_run(thing) else thing), overrides
    raise RunError(f"expected a spec, a model or a run, not {_kind(thing)}")


def _kind(thing: object) -> str:
    name = type(thing).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
