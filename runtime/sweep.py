"""Trainings at all combinations of some values, with several seeds at each: what `rbcc sweep` does.

Points whose models differ in values of parameters only train in one program, with their seeds: parameters are arguments
of it. Others take their turn. Each run directory is the one that `rbcc train` would write for its point and seed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rbcc.compiler.source import override_text
from rbcc.compiler.util.text import counted
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.economy.variants import arguments, programs
from rbcc.runtime.errors import RunError, TooLarge
from rbcc.runtime.parallel.devices import place
from rbcc.runtime.reports.html import write_page
from rbcc.runtime.session import (
    Listener,
    alone,
    begun_or_removed,
    check_free,
    check_trainable,
    created,
    describe,
    override_texts,
    train_together,
)
from rbcc.runtime.solve import verified
from rbcc.runtime.storage.run_directory import LARGEST_SEED, Run, versions
from rbcc.runtime.storage.sweep_directory import Sweep, is_sweep, write
from rbcc.runtime.validation.property_testing import audit
from rbcc.runtime.verification.statistics import CONFIDENCE
from rbcc.runtime.verification.verify import verify as run_verification


@dataclass(frozen=True)
class _Point:
    """The `values` at one point of a sweep, and the model there."""

    name: str
    values: dict[str, str]
    overrides: dict[str, object]
    model: Model


def sweep(
    path: str | Path,
    values: Mapping[str, Sequence[object]],
    overrides: Mapping[str, object] | None = None,
    *,
    seeds: int = 1,
    seed: int = 0,
    verify: bool = False,
    devices: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    say: Callable[[str], None] | None = None,
) -> Sweep:
    """Trains the spec at `path` at all combinations of `values`, and writes `out`, by default `runs/MODEL-sweep`.

    `values` maps dotted paths to the values that each takes; `overrides` hold at all points. At each point `seeds` are
    trained, from `seed` on. With `verify` each run is then verified as `rbcc verify` does. `resume` goes on with a
    sweep that was stopped. A run that diverges is given up, and the others go on. The rest is as in `train`. Raises
    CompileError for a spec that is bad at some point, RunError if there is nothing to sweep, `out` holds another sweep,
    or as `train` and `verify` do.
    """
    tell = say or (lambda _: None)
    texts = _texts(values, overrides)
    if seeds < 1 or not 0 <= seed <= LARGEST_SEED - seeds + 1:
        raise RunError(f"{seeds} seeds from {seed} on: there has to be one, and none below 0 or above {LARGEST_SEED}")
    points = _points(path, texts, overrides)
    numbers = range(seed, seed + seeds)
    about = {
        "model": points[0].model.ir.name,
        "spec": str(path),
        "values": texts,
        "overrides": override_texts(overrides),
        "seeds": [seed, seeds],
        "points": {point.name: point.values for point in points},
    }
    with ExitStack() as stack:
        if resume:
            found = _there(about, points, numbers, out)
            stack.enter_context(alone(found.folder))
        else:
            if out:
                check_free(Path(out))
            for point in points:
                check_trainable(point.model, path, 1)
            divided = _programs(points, numbers, devices)
            for point in points:
                tell(f"checking {_words(point)}")
                audit(point.model)
            found = _created({**about, "programs": divided, "versions": versions()}, path, points, numbers, out)
            stack.enter_context(alone(found.folder))
            stack.enter_context(begun_or_removed(found.folder, found.stored_runs()))
        found = _trained(found, points, devices, listener, tell)
    if verify:
        _verify(found, points, devices, tell)
    return found


# --- points --------------------------------------------------------------------------------------------------------


def _texts(values: Mapping[str, Sequence[object]], overrides: Mapping[str, object] | None) -> dict[str, list[str]]:
    """The swept values as `--set` has them. Raises RunError if there are none, or one comes twice."""
    if not values:
        raise RunError(
            "there is nothing to sweep: give a path several values, such as --set parameters.eta=0.1,0.2; "
            "'rbcc train --seeds' trains several seeds of one model"
        )
    if both := set(values) & set(overrides or {}):
        raise RunError(f"'{min(both)}' is both swept and set to one value")
    if text := next((name for name, own in values.items() if isinstance(own, str)), None):
        raise RunError(f"'{text}' is given a text; expected a list of values, such as [0.1, 0.2]")
    texts = {name: [override_text(value) for value in own] for name, own in values.items()}
    for name, own in texts.items():
        if not all(own) or not own:
            raise RunError(f"'{name}' is given {'an empty value' if own else 'no values'}")
        if twice := next((text for text in own if own.count(text) > 1), None):
            raise RunError(f"'{name}' is given {twice} twice")
    return texts


def _points(
    path: str | Path, texts: Mapping[str, Sequence[str]], overrides: Mapping[str, object] | None
) -> list[_Point]:
    """All combinations, the last path changing fastest."""
    points = []
    for number, combination in enumerate(product(*texts.values()), 1):
        own = dict(zip(texts, combination, strict=True))
        settings = {**(overrides or {}), **own}
        points.append(_Point(f"point-{number}", own, settings, compile(path, settings)))
    return points


def _words(point: _Point) -> str:
    return ", ".join(f"{name}={text}" for name, text in point.values.items())


def _programs(points: Sequence[_Point], seeds: range, devices: int | None) -> list[list[str]]:
    """The names of runs that train in one program, as many at once as may fit into memory.

    Raises RunError if `devices` cannot share one.
    """
    divided: list[list[str]] = []
    for group in programs([point.model for point in points]):
        names = [f"{points[k].name}/seed-{seed}" for k in group for seed in seeds]
        model = points[group[0]].model
        fitting = _fitting(model, names)
        for program in fitting:
            place([phase.economies for phase in model.ir.phases], devices, len(program))
        divided += fitting
    return divided


def _fitting(model: Model, names: list[str]) -> list[list[str]]:
    if any(phase.until for phase in model.ir.phases):  # each run ends such a phase at an iteration of its own
        return [[name] for name in names]
    try:
        check_trainable(model, model.spec or "", len(names))
    except TooLarge:
        if len(names) == 1:
            raise
        return [part for half in _halves(names) for part in _fitting(model, half)]
    return [names]


def _halves(names: list[str]) -> tuple[list[str], list[str]]:
    middle = (len(names) + 1) // 2
    return names[:middle], names[middle:]


# --- training ------------------------------------------------------------------------------------------------------


def _trained(
    found: Sweep, points: Sequence[_Point], devices: int | None, listener: Listener | None, tell: Callable[[str], None]
) -> Sweep:
    """The sweep, all of whose runs are finished or have diverged."""
    by_name = {point.name: point for point in points}
    while True:
        for number, program in enumerate(found.about["programs"]):
            runs = [run for run in map(Run.open, map(found.folder.joinpath, program)) if not _done(run)]
            if not runs:
                continue
            models = [by_name[run.folder.parent.name].model for run in runs]
            tell(f"program {number + 1} of {len(found.about['programs'])}: {counted(len(runs), 'run')}")
            try:
                train_together(runs, models, arguments(models), devices=devices, listener=listener, say=tell)
            except TooLarge:
                if len(program) == 1:
                    raise
                halves = _halves(program)
                tell(f"{len(program)} runs at once take more memory than there is: {len(halves[0])} at a time")
                rest = found.about["programs"]
                found = found.with_programs([*rest[:number], *halves, *rest[number + 1 :]])
                break
        else:
            return found


def _done(run: Run) -> bool:
    return run.finished or run.manifest["status"] == "diverged"


def _verify(found: Sweep, points: Sequence[_Point], devices: int | None, tell: Callable[[str], None]) -> None:
    """Verifies the runs that are finished and have no verification yet."""
    by_name = {point.name: point for point in points}
    asked: dict[str, Any] = {"seed": 0, "confidence": CONFIDENCE}
    runs = found.stored_runs()
    for number, run in enumerate(runs, 1):
        model = by_name[run.folder.parent.name].model
        if not run.finished or verified(run.folder, model, run.manifest["seed"], asked):
            continue

        def listen(message: str, number: int = number, run: Run = run) -> None:
            tell(f"verifying {run.folder}, {number} of {len(runs)}: {message}")

        write_page(run.folder, run_verification(run.folder, devices=devices, listener=listen, **asked))


# --- folders -------------------------------------------------------------------------------------------------------


def _created(
    about: Mapping[str, Any], path: str | Path, points: Sequence[_Point], seeds: range, out: str | Path | None
) -> Sweep:
    def write_all(draft: Path) -> None:
        for point in points:
            for seed in seeds:
                alone_seed = range(seed, seed + 1)
                describe(point.model, path, point.overrides, seed, alone_seed, draft / point.name / f"seed-{seed}")
        write(draft, about)

    return Sweep.open(created(f"{about['model']}-sweep", Path(out) if out else None, write_all))


def _there(about: Mapping[str, Any], points: Sequence[_Point], seeds: range, out: str | Path | None) -> Sweep:
    """The sweep to go on with: the one in `out`, or the newest of this spec under runs/, one that is not finished if
    there is any. Raises RunError if there is none, or it is another one."""
    if out:
        found = Sweep.open(out)
        if other := _difference(found, about, points):
            raise RunError(f"{out} {other}; choose another folder with --out")
        return found
    suitable = []
    for folder in filter(is_sweep, Path("runs").glob(f"{about['model']}-sweep*/")):
        found = Sweep.open(folder)
        if not _difference(found, about, points):
            runs = found.stored_runs()
            suitable.append((not all(map(_done, runs)), runs[0].manifest["started"], folder, found))
    if not suitable:
        raise RunError("runs/ has no sweep of this spec with these values and seeds; name its folder with --out")
    return max(suitable, key=lambda one: one[:3])[-1]


def _difference(found: Sweep, about: Mapping[str, Any], points: Sequence[_Point]) -> str:
    """How a sweep is not the one that is asked for, in words."""
    for name, what in (("values", "other values"), ("overrides", "other values of --set"), ("seeds", "other seeds")):
        if found.about[name] != about[name]:
            return f"is a sweep with {what}: {_listed(found.about[name])}, not {_listed(about[name])}"
    first = found.about["seeds"][0]
    if any(Run.open(found.folder / p.name / f"seed-{first}").manifest["digest"] != p.model.ir.digest for p in points):
        return "is a sweep of another version of the spec"
    return ""


def _listed(settings: Any) -> str:
    if isinstance(settings, list):
        return f"--seed {settings[0]} --seeds {settings[1]}"
    pairs = (f"{name}={','.join(own) if isinstance(own, list) else own}" for name, own in settings.items())
    return " ".join(f"--set {pair}" for pair in pairs) or "none"
