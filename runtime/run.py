"""The run directory: everything needed to repeat, resume, verify and plot a training.

    manifest.json             spec digest, overrides, seed, versions, device, state of the run
    spec.yaml                 the spec with everything it extends and all overrides merged in
    module.py                 the generated module that ran
    metrics.jsonl             one line per stretch of iterations
    checkpoint.safetensors    the newest networks, optimizers and multipliers
    phases/NAME.safetensors   the same at the end of each phase

Files are replaced atomically: a run that is killed can be resumed, with the numbers it would have had. A checkpoint is
written every ten seconds.
"""

import itertools
import json
import math
import os
import platform
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rbcc.compiler import ir
from rbcc.compiler.source import is_text, override_text
from rbcc.runtime.audit import audit
from rbcc.runtime.errors import Diverged, RunError
from rbcc.runtime.model import Model, compile
from rbcc.runtime.train import Progress, TrainState, initial_state, training


CHECKPOINT_SECONDS = 10.0

_MANIFEST = {"model", "spec", "digest", "overrides", "seed", "status", "started", "versions"}

Listener = Callable[["Run", Progress], None]


@dataclass(frozen=True)
class Run:
    """A training and its results."""

    folder: Path
    manifest: dict[str, Any]

    @staticmethod
    def open(folder: str | Path) -> "Run":
        """The run in `folder`. Raises RunError if there is none."""
        folder = Path(folder)
        path = folder / "manifest.json"
        if not path.is_file():
            near = (
                sorted(p.parent.name for p in folder.parent.glob("*/manifest.json")) if folder.parent.is_dir() else []
            )
            known = f"; runs beside it: {', '.join(near)}" if near else "; 'rbcc train model.yaml' makes one"
            if (Path("runs") / folder / "manifest.json").is_file():
                known = f"; did you mean {Path('runs') / folder}?"
            raise RunError(f"{folder} is no run directory{known}")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        if not isinstance(manifest, dict) or not set(manifest) >= _MANIFEST:
            raise RunError(f"{path} is damaged: it lacks some of {', '.join(sorted(_MANIFEST))}")
        return Run(folder, manifest)

    @cached_property
    def model(self) -> Model:
        model = compile(self.folder / "spec.yaml")
        if model.ir.digest != self.manifest["digest"]:
            raise RunError(f"{self.folder / 'spec.yaml'} is not the spec that was trained: it, or rbcc, has changed")
        return model

    def recompiled(self, overrides: Mapping[str, object]) -> Model:
        """The run's model with other verification settings. Raises RunError if anything else is to be changed."""
        for name in overrides:
            if not name.startswith("verify."):
                meant = f"; did you mean verify.{name}?" if name in ir.Verification.__dataclass_fields__ else ""
                raise RunError(f"'{name}' cannot be changed after training; only verify.* can{meant}")
        trained = self.model
        return compile(self.folder / "spec.yaml", overrides) if overrides else trained

    @property
    def finished(self) -> bool:
        return self.manifest["status"] == "finished"

    def state(self, name: str = "checkpoint") -> TrainState:
        """The networks of a checkpoint: the newest, or `phases/NAME`."""
        return self.checkpoint(name)[0]

    def checkpoint(self, name: str = "checkpoint") -> tuple[TrainState, int, int]:
        """(state, number of the phase, iterations done in it) of a checkpoint. Raises RunError if it is missing."""
        path = self.folder / f"{name}.safetensors"
        template = initial_state(self.model, self.manifest["seed"])
        if not path.is_file():
            raise RunError(f"{path} does not exist: the run was stopped before its first checkpoint")
        leaves, structure = jax.tree_util.tree_flatten_with_path(template)
        try:
            with safe_open(path, "numpy") as file:
                place = json.loads(file.metadata()["place"])
                arrays = [file.get_tensor(jax.tree_util.keystr(key)) for key, _ in leaves]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}; 'phases' may hold an older one") from None
        state = jax.tree_util.tree_unflatten(structure, [jax.numpy.asarray(array) for array in arrays])
        return state, place["phase"], place["iteration"]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of the training in order, each a dictionary of metrics."""
        path, records = self.folder / "metrics.jsonl", []
        phases = {phase.name for phase in self.model.ir.phases}
        for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
            try:
                record = json.loads(line)
            except ValueError:  # the line that was being written when the run was killed
                break
            if not isinstance(record, dict) or record.get("phase") not in phases or "iteration" not in record:
                raise RunError(f"{path}:{number} is no record of this training; remove the line")
            records.append(record)
        return records

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        overrides = [f"--set {shlex.quote(f'{path}={value}')}" for path, value in self.manifest["overrides"].items()]
        seed = f"--seed {self.manifest['seed']}"
        spec, out = shlex.quote(self.manifest["spec"]), shlex.quote(str(self.folder))
        return " ".join(["rbcc train", spec, *overrides, seed, "--out", out, "--resume"])

    # --- writing -----------------------------------------------------------------------------------------------

    def write_manifest(self, **changes: Any) -> "Run":
        run = replace(self, manifest={**self.manifest, **changes})
        write_file(self.folder / "manifest.json", (json.dumps(run.manifest, indent=2) + "\n").encode())
        return run

    def write_checkpoint(self, progress: Progress, name: str = "checkpoint") -> None:
        leaves = jax.tree_util.tree_flatten_with_path(jax.device_get(progress.state))[0]
        arrays = {jax.tree_util.keystr(key): np.asarray(leaf, order="C") for key, leaf in leaves}
        place = {"phase": progress.phase, "iteration": progress.iteration}
        write_file(self.folder / f"{name}.safetensors", save(arrays, {"place": json.dumps(place)}))

    def write_metrics(self, progress: Progress, seconds: float) -> None:
        phase = self.model.ir.phases[progress.phase].name
        place = {"phase": phase, "iteration": progress.iteration, "seconds": round(seconds, 3)}
        record = {**place, **progress.metrics}
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def cut_metrics(self, phase: int, iteration: int) -> None:
        """Drops the records after a checkpoint: a resumed run writes them again."""
        names = [p.name for p in self.model.ir.phases]
        kept = [r for r in self.metrics if (names.index(r["phase"]), r["iteration"]) <= (phase, iteration)]
        write_file(self.folder / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in kept).encode())


def train(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Trains the spec at `path` and writes the run directory `out`, by default `runs/MODEL`.

    `resume` goes on with a run that was stopped; the result is the same as without the stop. `listener` is called
    after every stretch of iterations. Raises CompileError for a bad spec, RunError if the directory holds another run
    or the spec has no training or breaks its own accounts, Diverged if a number stops being finite.
    """
    model = compile(path, overrides)
    if not model.ir.phases:
        raise RunError(
            f"{path} has no 'training'; add 'training: {{phases: {{learn: {{iterations: 1000, economies: 32}}}}}}'"
        )
    for agent, factor in model.module.discounts().items():
        if not 0 <= float(factor) <= 1:
            raise RunError(f"the discount factor of {agent} is {float(factor):g}; it has to lie between 0 and 1")
    if resume:
        run, state, phase, first = _resumed(model, seed, Path(out) if out else _newest(model, seed))
    else:
        audit(model)
        run = _created(model, path, overrides, seed, Path(out) if out else None)
        state, phase, first = None, 0, 0
    return _trained(run, model, state, phase, first, listener)


def _trained(
    run: Run, model: Model, state: TrainState | None, phase: int, first: int, listener: Listener | None
) -> Run:
    before = run.metrics[-1]["seconds"] if run.metrics else 0.0
    began = saved = time.monotonic()
    kept = None
    run = run.write_manifest(status="running")
    if first == 0 and phase > 0 and state is not None:  # killed before it could keep the end of the last phase
        done = model.ir.phases[phase - 1]
        run.write_checkpoint(Progress(phase - 1, done.iterations, {}, state), f"phases/{done.name}")
    try:
        for progress in training(model, run.manifest["seed"], state, phase, first):
            now = time.monotonic()
            _check_finite(model, progress)
            run.write_metrics(progress, before + now - began)
            kept = progress
            last = progress.iteration == model.ir.phases[progress.phase].iterations
            if last or now - saved > CHECKPOINT_SECONDS:
                run.write_checkpoint(progress)
                saved = now
            if last:
                run.write_checkpoint(progress, f"phases/{model.ir.phases[progress.phase].name}")
            if listener:
                listener(run, progress)
    except KeyboardInterrupt:
        if kept is not None:
            run.write_checkpoint(kept)
        run.write_manifest(status="interrupted")
        raise
    except Diverged:
        run.write_manifest(status="diverged")
        raise
    return run.write_manifest(status="finished", seconds=round(before + time.monotonic() - began, 3))


def _check_finite(model: Model, progress: Progress) -> None:
    wrong = next((name for name, value in progress.metrics.items() if not math.isfinite(value)), None)
    if wrong is not None:
        from rbcc.runtime.trouble import locate

        phase = model.ir.phases[progress.phase]
        raise Diverged(
            f"{wrong} is {progress.metrics[wrong]} in phase {phase.name} at iteration {progress.iteration}.\n"
            + locate(model, phase, progress)
        )


def _created(
    model: Model, path: str | Path, overrides: Mapping[str, object] | None, seed: int, out: Path | None
) -> Run:
    """A new run directory with everything but results, `out` or the first of runs/MODEL, runs/MODEL-2, ... that is free.

    It is written under another name and then renamed, so that it is there whole or not at all.
    """
    parent = out.absolute().parent if out else Path("runs")
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{model.ir.name}.", dir=parent))
    try:
        draft.chmod(0o755)
        run = _described(model, path, overrides, seed, draft)
        names = itertools.chain([model.ir.name], (f"{model.ir.name}-{number}" for number in itertools.count(2)))
        for folder in [out] if out else map(parent.joinpath, names):
            try:
                draft.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
            else:
                return replace(run, folder=folder)
        raise RunError(f"{out} already exists; choose another with --out, or go on with it with --resume")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _described(model: Model, path: str | Path, overrides: Mapping[str, object] | None, seed: int, folder: Path) -> Run:
    """Writes manifest, resolved spec and generated module into an empty `folder`."""
    document = model.compiled.document
    plain: dict[str, Any] = dict(document.plain)  # type: ignore[call-overload]
    plain.pop("extends", None)
    copies = []
    for position, name in enumerate(plain.get("use", [])):
        source = document.file_beside(document.span(("use", position)), name)
        copies.append(f"{position}_{source.name}")
        shutil.copyfile(source, folder / copies[-1])
    plain |= {"use": copies} if copies else {}
    write_file(
        folder / "spec.yaml",
        yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120).encode(),
    )
    write_file(folder / "module.py", model.text.encode())
    manifest = {
        "model": model.ir.name,
        "spec": str(path),
        "digest": model.ir.digest,
        "overrides": {name: override_text(value) for name, value in (overrides or {}).items()},
        "seed": seed,
        "status": "running",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": 0.0,
        "device": str(jax.devices()[0].device_kind),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("rbcc", "jax", "jaxlib", "optax", "numpy")},
    }
    return Run(folder, manifest).write_manifest()


def _resumed(model: Model, seed: int, folder: Path) -> tuple[Run, TrainState | None, int, int]:
    run = Run.open(folder)
    if run.manifest["digest"] != model.ir.digest:
        raise RunError(f"{folder} was trained from another version of the spec; train anew with --out")
    if run.manifest["seed"] != seed:
        raise RunError(f"{folder} was trained with --seed {run.manifest['seed']}, not {seed}")
    if not (folder / "checkpoint.safetensors").is_file():
        run.cut_metrics(-1, 0)
        return run, None, 0, 0
    state, phase, iteration = run.checkpoint()
    run.cut_metrics(phase, iteration)
    if iteration == model.ir.phases[phase].iterations:
        return run, state, phase + 1, 0
    return run, state, phase, iteration


def _newest(model: Model, seed: int) -> Path:
    """The newest run of this very spec and seed under runs/, one that is not finished if there is one."""
    found = []
    for path in Path("runs").glob(f"{model.ir.name}*/manifest.json"):
        try:
            run = Run.open(path.parent)
        except RunError:  # a damaged one
            continue
        if run.manifest["digest"] == model.ir.digest and run.manifest["seed"] == seed:
            found.append((not run.finished, run.manifest["started"], path.parent))
    if not found:
        raise RunError(
            f"there is no run of this spec with --seed {seed} under runs/ to resume; name its directory with --out"
        )
    return max(found)[2]


def write_file(path: Path, data: bytes) -> None:
    """Replaces a file so that at any moment either the old or the new content is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


class _Dumper(yaml.SafeDumper):
    """Writes YAML that our reader (YAML 1.2 words and numbers) reads back as the same values."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None if is_text(value) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
