"""Trainings that are kept in run directories: begun, gone on with after a stop, and written as they go."""

import itertools
import math
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml
from filelock import FileLock, Timeout
from jax.experimental import multihost_utils

from rbcc.compiler import ir
from rbcc.compiler.source import is_text, override_text
from rbcc.compiler.util.atomic_write import draft_of, remove_drafts, write_file
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.errors import Diverged, RunError, Stopped
from rbcc.runtime.learners.ppo import fresh_optimizer
from rbcc.runtime.parallel.devices import check_size, place
from rbcc.runtime.policies.precision import check_precision
from rbcc.runtime.storage.run_directory import Run, all_finite, seed_options, set_options, versions
from rbcc.runtime.training.loop import Given, Progress, TrainState, initial_state, networks_of, over, training
from rbcc.runtime.validation.conditions import Checks
from rbcc.runtime.validation.property_testing import audit
from rbcc.runtime.verification.live import LiveExploitability


CHECKPOINT_SECONDS = 10.0
START = "start"
"""The checkpoint of networks from which a run began, if not from random ones."""

Listener = Callable[[Sequence[Run], Sequence[Progress]], None]
"""(runs, progress of each), called after every stretch of iterations."""


def train(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    devices: int | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    phase: str | None = None,
    resume: bool = False,
    checked: bool = False,
    listener: Listener | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Trains the spec at `path` and writes the run directory `out`, by default `runs/MODEL`.

    `devices` is how many of JAX's devices share the economies, by default all that can. `start` is a run from whose
    networks it begins, in place of random ones, of all types that see and choose the same there; `phase` is then the
    phase to begin with, by default the first. `resume` goes on with a run that was stopped; the result is the same as
    without the stop. `checked` tests all numbers, accounts, identities and
    invariants in every step. `listener` is called after every stretch of iterations, `say` told what is being compiled.
    Raises CompileError for a bad spec, RunError if the directory holds another run, the spec has no training or breaks
    its own accounts, or devices or memory do not suffice, Diverged if a number stops being finite, Violated if
    something does not hold.
    """
    if jax.process_count() > 1:
        raise RunError("train returns a run, and of several hosts only one has it; use train_seeds")
    (run,) = train_seeds(
        path,
        overrides,
        seeds=range(seed, seed + 1),
        devices=devices,
        out=out,
        start=start,
        phase=phase,
        resume=resume,
        checked=checked,
        listener=listener,
        say=say,
    )
    return run


def train_seeds(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    seeds: range,
    devices: int | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    phase: str | None = None,
    resume: bool = False,
    checked: bool = False,
    listener: Listener | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Run, ...]:
    """Trains with several `seeds` in a row at once, which share the devices, and returns their runs.

    The run directories are seed-SEED in `out`, or `out` itself for a single seed. Of several hosts one writes and has
    the runs; the others train along and return nothing. Else as `train`.
    """
    model = compile(path, overrides)
    check_trainable(model, path, len(seeds))
    placement = place([each.economies for each in model.ir.phases], devices, len(seeds))
    tell = say or (lambda _: None)

    with ExitStack() as stack:

        def begun() -> _Begun:
            if resume:
                folder = Path(out) if out else _newest(model, overrides, seeds)
                stack.enter_context(alone(folder))
                return _resumed(model, overrides, seeds, folder)
            if out:
                check_free(Path(out))
            states, number = _started(model, seeds, start, phase, tell)
            audit(model)
            runs = _created(model, path, overrides, seeds, Path(out) if out else None)
            stack.enter_context(alone(runs[0].whole))
            stack.enter_context(begun_or_removed(runs[0].whole, runs))
            if states:
                with _keeping(runs):
                    for run, state in zip(runs, states, strict=True):
                        run.write_checkpoint(Progress(number, 0, {}, state), START)
            return runs, states, number, 0

        runs, states, number, first = _everywhere(begun, model, seeds)
        checks = Checks(model) if checked else None
        gains = _gains(model, devices) if jax.process_count() == 1 else None
        progress = training(model, seeds, placement, states, number, first, tell, checks, gains)
        if not _writes():
            for step in progress:
                _check_finite([model] * len(seeds), step)
            return ()
        runs = _written(runs, status="running", devices=placement.devices)
        return _trained(runs, [model] * len(seeds), progress, listener)


def train_together(
    runs: Sequence[Run],
    models: Sequence[Model],
    parameters: Sequence[Given],
    *,
    devices: int | None = None,
    listener: Listener | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Run, ...]:
    """Trains `runs` at once, each to where it would come by itself, and returns them.

    The model of each, of `models`, is the first with other `parameters`, and its run directory may be new or one that
    was stopped. A run that diverges is given up, and the others then train without it; its status tells. The rest is as
    in `train_seeds`.
    """
    placement = place([phase.economies for phase in models[0].ir.phases], devices, len(runs))
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(alone(run.folder))
        begun, states, phase, first = _going_on(runs)
        begun = _written(begun, status="running", devices=placement.devices)
        seeds, tell = [run.manifest["seed"] for run in runs], say or (lambda _: None)
        gains = _gains(models[0], devices) if len(runs) == 1 else None
        progress = training(
            models[0], seeds, placement, states, phase, first, tell, gains=gains, parameters=parameters
        )  # fmt: skip
        try:
            return _trained(begun, models, progress, listener, apart=True)
        except Diverged as error:
            gone = error.place
            tell(f"{runs[gone].folder} is given up: {error}")
    others = [number for number in range(len(runs)) if number != gone]
    if not others:
        return (Run.open(runs[gone].folder),)
    rest, alike, given = zip(*((runs[number], models[number], parameters[number]) for number in others), strict=True)
    done = train_together(rest, alike, given, devices=devices, listener=listener, say=say)
    return (*done[:gone], Run.open(runs[gone].folder), *done[gone:])


def _gains(model: Model, devices: int | None) -> LiveExploitability:
    return LiveExploitability(model, place([model.ir.verification.economies], devices))


def check_trainable(model: Model, path: str | Path, seeds: int) -> None:
    """Raises RunError if `model`, of the spec at `path`, has no training, an impossible discount factor or a precision
    that the device lacks, TooLarge if memory is surely too small for so many `seeds`."""
    if not model.ir.phases:
        raise RunError(
            f"{path} has no 'training'; add 'training: {{phases: {{learn: {{iterations: 1000, economies: 32}}}}}}'"
        )
    for agent, factor in model.module.discounts().items():
        if not 0 <= float(factor) <= 1:
            raise RunError(f"the discount factor of {agent} is {float(factor):g}; it has to lie between 0 and 1")
    check_precision(model.ir.network_precision)
    _check_endings(model, seeds)
    for phase in model.ir.phases:
        check_size(model.ir, f"phase {phase.name}", phase.economies * seeds, model.ir.horizon)


def _started(
    model: Model, seeds: range, start: str | Path | None, phase: str | None, say: Callable[[str], None]
) -> tuple[list[TrainState] | None, int]:
    """Networks with which to begin, for each seed, those of the run `start`; and the number of the first phase."""
    if start is None:
        if phase is not None:
            raise RunError("a phase to begin with needs a run to start from")
        return None, 0
    names = [one.name for one in model.ir.phases]
    if phase is not None and phase not in names:
        raise RunError(f"there is no phase '{phase}'; phases of this spec: {', '.join(names)}")
    run = Run.open(start)
    state = run.state()
    same = [agent for agent in networks_of(model) if agent in state.networks and _alike(model.ir, run.model.ir, agent)]
    if not same:
        raise RunError(f"no agent type sees and chooses the same as in {start}: there is nothing to start from")
    anew = [agent for agent in networks_of(model) if agent not in same]
    say(f"starting from {start}: {', '.join(same)}" + (f"; from random networks: {', '.join(anew)}" if anew else ""))
    states = []
    for seed in seeds:
        fresh = initial_state(model, seed)
        networks = {agent: state.networks[agent] if agent in same else net for agent, net in fresh.networks.items()}
        optimizers = {agent: fresh_optimizer(network) for agent, network in networks.items()}
        multipliers = {name: state.multipliers.get(name, zero) for name, zero in fresh.multipliers.items()}
        states.append(TrainState(networks, optimizers, multipliers))
    return states, names.index(phase) if phase else 0


def _alike(model: ir.Model, other: ir.Model, agent: str) -> bool:
    """Whether the networks of an agent type in two models have the same inputs and outputs."""

    def shape(one: ir.Model) -> Any:
        observed = [(o.shared, o.own, o.fixed) for o in one.observations if o.agent == agent]
        features = [[[(f.name, f.encoding, f.size) for f in part] for part in parts] for parts in observed]
        actions = [action for action in one.actions if action.symbol.partition(".")[0] == agent]
        chosen = [(action.symbol, action.choices, bool(action.bounds), action.shares) for action in actions]
        learner = [(x.network, x.joint) for x in one.phases[0].learners if x.agent == agent]
        return one.agent(agent).count, features, chosen, learner

    return shape(model) == shape(other)


def _check_endings(model: Model, seeds: int) -> None:
    """Raises RunError if a phase ends by its `until` and seeds, which each end it elsewhere, are trained as one."""
    phase = next((phase.name for phase in model.ir.phases if phase.until), None)
    if phase is None:
        return
    if seeds > 1:
        raise RunError(
            f"phase {phase} has 'until', so each seed ends it after iterations of its own; train one seed at a time"
        )
    if jax.process_count() > 1:
        raise RunError(f"phase {phase} has 'until', which several hosts do not measure; train on one")


_Begun = tuple[tuple[Run, ...], list[TrainState] | None, int, int]
"""Runs, what their states are if they go on, and from which iteration of which phase."""
_LONGEST = 2000  # bytes of an error that all hosts hear of: what is broadcast has the same shape on each


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While runs in `folder` are trained; who dies gives them free. Raises RunError if another process trains them."""
    if not folder.is_dir():  # for others to say
        yield
        return
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder} is being trained by another process") from None
    with lock:
        try:
            yield
        finally:
            (folder / ".lock").unlink(missing_ok=True)


@contextmanager
def begun_or_removed(folder: Path, runs: Sequence[Run]) -> Iterator[None]:
    """Removes a new folder of runs if their training fails before its first iterations: it would be in the way.

    Those of a training that can go on, or that say what was wrong with the economy, stay.
    """
    try:
        yield
    except (KeyboardInterrupt, Stopped):
        raise
    except BaseException:
        if not any((run.folder / "metrics.jsonl").exists() for run in runs):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _keeping(runs: tuple[Run, ...]) -> Iterator[None]:
    """While results are written. Raises RunError, which says how to go on, if they cannot be."""
    try:
        yield
    except OSError as error:
        where = error.filename or runs[0].whole
        raise RunError(
            f"{where} cannot be written: {error.strerror or error}; then go on with: {runs[0].resume_command}"
        ) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Has SIGTERM and SIGHUP interrupt this process as Ctrl-C does; it then ends by the signal, as the sender expects.

    For a program of its own, in its main thread. A signal that is ignored, as under nohup, stays so.
    """
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        del frame
        if not received:  # a second one does not stop the saving
            received.append(number)
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While Ctrl-C does nothing."""
    if threading.current_thread() is not threading.main_thread():  # it never interrupts another
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _writes() -> bool:
    """Whether this process keeps the run directory: of several hosts one does."""
    return jax.process_index() == 0


def _everywhere(begun: Callable[[], "_Begun"], model: Model, seeds: range) -> "_Begun":
    """What `begun` gives on the host that writes, but for the runs on all hosts; or its RunError, on all of them."""
    if jax.process_count() == 1:
        return begun()
    error, found = "", ((), None, 0, 0)
    if _writes():
        try:
            found = begun()
        except RunError as problem:
            error = str(problem)
    runs, states, *reached = found
    text = np.frombuffer(_cut(error, _LONGEST).ljust(_LONGEST), np.uint8)
    text, begin = multihost_utils.broadcast_one_to_all((text, np.array([states is not None, *reached])))
    if message := bytes(np.asarray(text)).decode().strip():
        raise RunError(message)
    there, phase, first = map(int, begin)
    if there:
        template = [initial_state(model, seed) for seed in seeds]
        states = multihost_utils.broadcast_one_to_all(states if states is not None else template)
    return runs, states, phase, first


def _cut(text: str, length: int) -> bytes:
    """`text` in at most `length` bytes, with "…" in place of what is left out."""
    data, end = text.encode(), "…".encode()
    return data if len(data) <= length else data[: length - len(end)].decode(errors="ignore").encode() + end


def _trained(
    runs: tuple[Run, ...],
    models: Sequence[Model],
    training: Iterable[tuple[Progress, ...]],
    listener: Listener | None,
    apart: bool = False,
) -> tuple[Run, ...]:
    """The runs, finished. Of runs that are `apart` one that diverges keeps the others from nothing: they can go on."""
    phases = models[0].ir.phases
    before = max((run.metrics[-1]["seconds"] for run in runs if run.metrics), default=0.0)
    began = saved = time.monotonic()
    kept: tuple[Progress, ...] = ()

    def store(progress: Iterable[Progress], name: str = "checkpoint") -> None:
        with _keeping(runs):
            for run, own in zip(runs, progress, strict=True):
                run.write_checkpoint(own, name)

    try:
        for progress in training:
            now = time.monotonic()
            _check_finite(models, progress)
            with _keeping(runs):
                for run, own in zip(runs, progress, strict=True):
                    run.write_metrics(own, before + now - began)
            kept = progress
            settings = phases[progress[0].phase]
            last = over(settings, progress[0].iteration, progress[0].metrics)
            if last or now - saved > CHECKPOINT_SECONDS:
                store(progress)
                saved = now
            if last:
                store(progress, f"phases/{settings.name}")
            if listener:
                listener(runs, progress)
    except KeyboardInterrupt:
        with _undisturbed():
            if kept:
                store(kept)
            _written(runs, status="interrupted")
        raise
    except Stopped as error:
        if apart and kept:
            store(kept)
        _written((runs[error.place],) if apart else runs, status=error.status)
        raise
    return _written(runs, status="finished", seconds=round(before + time.monotonic() - began, 3))


def _written(runs: tuple[Run, ...], **changes: Any) -> tuple[Run, ...]:
    with _keeping(runs):
        return tuple(run.write_manifest(**changes) for run in runs)


def _check_finite(models: Sequence[Model], seeds: Sequence[Progress]) -> None:
    for number, (model, progress) in enumerate(zip(models, seeds, strict=True)):
        wrong = next((f"{name} is {value}" for name, value in progress.metrics.items() if not math.isfinite(value)), "")
        if not wrong and all_finite(jax.tree.leaves(progress.state)):
            continue
        from rbcc.runtime.validation.nonfinite import locate

        phase = model.ir.phases[progress.phase]
        what = wrong or "a weight of the networks is not finite"
        raise Diverged(
            f"{what} in phase {phase.name} at iteration {progress.iteration}.\n" + locate(model, phase, progress),
            number,
        )


def _created(
    model: Model, path: str | Path, overrides: Mapping[str, object] | None, seeds: range, out: Path | None
) -> tuple[Run, ...]:
    """New run directories with everything but results, in `out` or runs/MODEL; see `created`."""
    runs: list[Run] = []

    def write(draft: Path) -> None:
        runs.extend(
            describe(model, path, overrides, seed, seeds, part)
            for part, seed in zip(_parts(draft, seeds), seeds, strict=True)
        )

    folder = created(model.ir.name, out, write)
    return tuple(replace(run, folder=part) for run, part in zip(runs, _parts(folder, seeds), strict=True))


def created(name: str, out: Path | None, write: Callable[[Path], None]) -> Path:
    """A new folder with what `write` puts into it: `out`, or the first of runs/NAME, runs/NAME-2, ... that is free.

    It is written under another name and then renamed, so that it is there whole or not at all. Raises RunError if it
    cannot be written.
    """
    place = (out or Path("runs") / name).absolute()
    draft = draft_of(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(place)
        draft.mkdir()
        write(draft)
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        for folder in [out] if out else map(Path("runs").joinpath, names):
            try:
                draft.rename(folder)
            except OSError:
                if out:
                    check_free(out)
                if out or not folder.exists():
                    raise
            else:
                return folder
        raise AssertionError("one of infinitely many names is free")
    except OSError as error:
        raise RunError(f"{out or place.parent} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(out: Path) -> None:
    """Raises RunError if there is something at `out` that a new run would replace."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    run = any(any(out.glob(name)) for name in ("manifest.json", "seed-*/manifest.json", "sweep.json"))
    what = "already exists" if run else "is there already, and is not a run directory"
    more = ", or go on with it with --resume" if run else ""
    raise RunError(f"{out} {what}; choose another with --out{more}")


def override_texts(overrides: Mapping[str, object] | None) -> dict[str, str]:
    """Overrides as a manifest has them."""
    return {name: override_text(value) for name, value in (overrides or {}).items()}


def _parts(folder: Path, seeds: range) -> list[Path]:
    """Where the runs of `seeds` lie."""
    return [folder / f"seed-{seed}" for seed in seeds] if len(seeds) > 1 else [folder]


def describe(
    model: Model,
    path: str | Path,
    overrides: Mapping[str, object] | None,
    seed: int,
    seeds: range,
    folder: Path,
) -> Run:
    """Writes manifest, resolved spec and generated module into `folder`, which is new or empty."""
    folder.mkdir(parents=True, exist_ok=True)
    document = model.compiled.document
    copies = {file: f"{number}_{file.name}" for number, file in enumerate(dict.fromkeys(document.files.values()))}
    for file, name in copies.items():
        shutil.copyfile(file, folder / name)
    plain = document.with_files({path: copies[file] for path, file in document.files.items()})
    plain.pop("extends", None)
    write_file(
        folder / "spec.yaml",
        yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120).encode(),
    )
    write_file(folder / "module.py", model.text.encode())
    manifest = {
        "model": model.ir.name,
        "spec": str(path),
        "digest": model.ir.digest,
        "overrides": override_texts(overrides),
        "seed": seed,
        "seeds": [seeds[0], len(seeds)],
        "status": "running",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": 0.0,
        "device": str(jax.devices()[0].device_kind),
        "platform": platform.platform(),
        "versions": versions(),
    }
    return Run(folder, manifest).write_manifest()


def _resumed(model: Model, overrides: Mapping[str, object] | None, seeds: range, folder: Path) -> _Begun:
    """The runs in `folder`, their states, and the phase and iteration from which all of them can go on."""
    first = Run.open(_parts(folder, seeds)[0])
    if first.manifest["digest"] != model.ir.digest:
        other = "was trained from another version of the spec; train anew with --out"
        raise RunError(f"{folder} {_other_settings(first, overrides) or other}")
    if first.manifest["seeds"] != [seeds[0], len(seeds)]:
        own, wanted = seed_options(*first.manifest["seeds"]), seed_options(seeds[0], len(seeds))
        raise RunError(f"{folder} was trained with {own}, not {wanted}")
    return _going_on([Run.open(part) for part in _parts(folder, seeds)])


def _going_on(runs: Sequence[Run]) -> _Begun:
    """`runs` of one program, their states, and the phase and iteration from which all of them can go on."""
    if not all((run.folder / "checkpoint.safetensors").is_file() for run in runs):
        for run in runs:
            run.cut_metrics(-1, 0)
        if not (runs[0].folder / f"{START}.safetensors").is_file():
            return tuple(runs), None, 0, 0
        starts = [run.checkpoint(START) for run in runs]
        return tuple(runs), [state for state, *_ in starts], starts[0][1], 0
    # A kill may have come after the checkpoints of some seeds and before those of others.
    found = [run.checkpoint() for run in runs]
    phase, iteration = min(reached for _, *reached in found)
    states = [
        state if (number, done) == (phase, iteration) else run.go_back(phase, iteration)
        for run, (state, number, done) in zip(runs, found, strict=True)
    ]
    for run in runs:
        run.cut_metrics(phase, iteration)
    settings, record = runs[0].model.ir.phases[phase], (runs[0].metrics or [{}])[-1]
    if over(settings, iteration, record):
        with _keeping(tuple(runs)):  # killed, perhaps, before it could keep the end of the phase
            for run, state in zip(runs, states, strict=True):
                run.write_checkpoint(Progress(phase, iteration, {}, state), f"phases/{settings.name}")
        phase, iteration = phase + 1, 0
    return tuple(runs), states, phase, iteration


def _newest(model: Model, overrides: Mapping[str, object] | None, seeds: range) -> Path:
    """The newest runs of this very spec and seeds under runs/, ones that are not finished if there are any."""
    found, others = [], []
    for path in Path("runs").glob(f"{model.ir.name}*/"):
        try:
            run = Run.open(_parts(path, seeds)[0])
        except RunError:  # a damaged one, or none
            continue
        if run.manifest["seeds"] == [seeds[0], len(seeds)]:
            same = run.manifest["digest"] == model.ir.digest
            (found if same else others).append((not run.finished, run.manifest["started"], path, run))
    if not found:
        wanted = seed_options(seeds[0], len(seeds))
        near = max(others, key=lambda one: one[:3])[-1] if others else None
        other = _other_settings(near, overrides) if near else ""
        help = f"{near.folder} {other}" if near and other else "name its directory with --out"
        raise RunError(f"there is no run of this spec with {wanted} under runs/ to resume; {help}")
    return max(found, key=lambda one: one[:3])[2]


def _other_settings(run: Run, overrides: Mapping[str, object] | None) -> str:
    """With which overrides a run was trained that are not among those given, or without which, and how to go on."""
    own, given = run.manifest["overrides"].items(), override_texts(overrides).items()
    parts = (("with", sorted(own - given)), ("without", sorted(given - own)))
    words = " and ".join(f"{word} {set_options(dict(rest))}" for word, rest in parts if rest)
    return f"was trained {words}; go on with it by: {run.resume_command}" if words else ""


class _Dumper(yaml.SafeDumper):
    """Writes YAML that our reader (YAML 1.2 words and numbers) reads back as the same values."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None if is_text(value) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
