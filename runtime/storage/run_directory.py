"""The run directory: everything needed to repeat, resume, verify and plot a training.

    manifest.json             spec digest, overrides, seed, versions, device, state of the run
    spec.yaml                 the spec with everything it extends and all overrides merged in
    0_NAME, 1_NAME, ...       copies of the Python and CSV files that it uses
    module.py                 the generated module that ran
    metrics.jsonl             one line per stretch of iterations
    checkpoint.safetensors    the newest networks, optimizers and multipliers: those with which agents explore
    previous.safetensors      the checkpoint before
    phases/NAME.safetensors   the same at the end of each phase

Seeds that are trained together have a directory each, seed-0, seed-1, ..., in one of their own.

Files are replaced atomically: a run that is killed can be resumed, with the numbers it would have had. A checkpoint is
written every ten seconds. It knows whose it is and has a checksum, so that damage is noticed and the checkpoint of
another run is not taken for its own.
"""

import hashlib
import json
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rbcc.compiler import ir
from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.economy.model import Model, compile
from rbcc.runtime.errors import RunError
from rbcc.runtime.policies.policy import Parameters
from rbcc.runtime.training.loop import Progress, TrainState, initial_state, profile


LARGEST_SEED = 2**31 - 1

_MANIFEST = {
    "model": str,
    "spec": str,
    "digest": str,
    "overrides": dict,
    "seed": int,
    "seeds": list,
    "status": str,
    "started": str,
    "versions": dict,
}
"""What a manifest has at least, and of which type."""


@dataclass(frozen=True)
class Run:
    """A training and its results."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
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
            raise RunError(f"{folder} is not a run directory{known}")
        try:
            manifest = _from_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        if not isinstance(manifest, dict):
            raise RunError(f"{path} is damaged: it is not a table")
        for name, kind in _MANIFEST.items():
            if not isinstance(manifest.get(name), kind):
                raise RunError(f"{path} is damaged: its '{name}' is missing or of the wrong type")
        if not _is_seed(manifest["seed"]):
            raise RunError(f"{path} is damaged: its 'seed' is not from 0 to {LARGEST_SEED}")
        if len(manifest["seeds"]) != 2 or not all(map(_is_seed, manifest["seeds"])):
            raise RunError(f"{path} is damaged: its 'seeds' are not the first seed and a number of seeds")
        return cls(folder, manifest)

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

    def profile(self, name: str = "checkpoint") -> dict[str, Parameters]:
        """The networks of the profile of a checkpoint: what agents play who do not explore."""
        state, phase, iteration = self.checkpoint(name)
        return profile(self.model, state, self.model.ir.phases[phase], iteration)

    def checkpoint(self, name: str = "checkpoint") -> tuple[TrainState, int, int]:
        """(state, number of the phase, iterations done in it) of a checkpoint.

        Raises RunError if it is missing, damaged, or of another run.
        """
        path = self.folder / f"{name}.safetensors"
        template = jax.eval_shape(lambda: initial_state(self.model, self.manifest["seed"]))
        if not path.is_file():
            raise RunError(f"{path} does not exist: the run was stopped before its first checkpoint")
        leaves, structure = jax.tree_util.tree_flatten_with_path(template)
        try:
            with safe_open(path, "numpy") as file:
                about = dict(file.metadata())
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if about.pop("checksum", "") != _checksum(found, about):
                raise ValueError("its content does not have its checksum")
            owner, own = (about["digest"], int(about["seed"])), (self.manifest["digest"], self.manifest["seed"])
            if owner != own:
                what = f"seed {owner[1]}, not {own[1]}" if owner[0] == own[0] else "another version of the spec"
                raise RunError(f"{path} is not of this run: it was trained with {what}")
            reached = json.loads(about["place"])
            phase, iteration = int(reached["phase"]), int(reached["iteration"])
            if not (0 <= phase < len(self.model.ir.phases) and iteration >= 0):
                raise ValueError(f"it is of iteration {iteration} of phase number {phase}")
            arrays = [found[jax.tree_util.keystr(key)] for key, _ in leaves]
            for (key, leaf), array in zip(leaves, arrays, strict=True):
                if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
                    shapes = f"{array.dtype}{list(array.shape)}, not {leaf.dtype}{list(leaf.shape)}"
                    raise ValueError(f"{jax.tree_util.keystr(key)} is {shapes}")
            if not all_finite(arrays):
                raise ValueError("it has numbers that are not finite")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            older = "; 'previous' and 'phases' may hold older ones" if name == "checkpoint" else ""
            raise RunError(f"{path} is damaged: {error}{older}") from None
        state = jax.tree_util.tree_unflatten(structure, [jax.numpy.asarray(array) for array in arrays])
        return state, phase, iteration

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of the training in order, each a dictionary of metrics."""
        path, records = self.folder / "metrics.jsonl", []
        phases = {phase.name for phase in self.model.ir.phases}
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for number, line in enumerate(lines, 1):
            try:
                record = _from_json(line)
            except ValueError:
                if number == len(lines):  # what was being written when the run was killed
                    break
                record = None
            if not _is_record(record, phases):
                raise RunError(f"{path}:{number} is not a record of this training; remove the line")
            records.append(record)
        return records

    @property
    def whole(self) -> Path:
        """The folder of all runs that were trained together: the run's own if it was trained alone."""
        return self.folder.parent if self.manifest["seeds"][1] > 1 else self.folder

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        overrides = set_options(self.manifest["overrides"])
        spec, out = shlex.quote(self.manifest["spec"]), shlex.quote(str(self.whole))
        parts = ["rbcc train", spec, overrides, seed_options(*self.manifest["seeds"]), "--out", out, "--resume"]
        return " ".join(part for part in parts if part)

    # --- writing -----------------------------------------------------------------------------------------------

    def write_manifest(self, **changes: Any) -> Self:
        run = replace(self, manifest={**self.manifest, **changes})
        write_file(self.folder / "manifest.json", (json.dumps(run.manifest, indent=2) + "\n").encode())
        return run

    def write_checkpoint(self, progress: Progress, name: str = "checkpoint") -> None:
        leaves = jax.tree_util.tree_flatten_with_path(progress.state)[0]
        arrays = {jax.tree_util.keystr(key): np.asarray(leaf, order="C") for key, leaf in leaves}
        about = {
            "place": json.dumps({"phase": progress.phase, "iteration": progress.iteration}),
            "digest": self.manifest["digest"],
            "seed": str(self.manifest["seed"]),
        }
        path = self.folder / f"{name}.safetensors"
        if name == "checkpoint" and path.is_file():
            write_file(self.folder / "previous.safetensors", path.read_bytes())
        write_file(path, save(arrays, {**about, "checksum": _checksum(arrays, about)}))

    def go_back(self, phase: int, iteration: int) -> TrainState:
        """Makes the last checkpoint but one the newest. Raises RunError if it is not of `iteration` of `phase`."""
        state, *reached = self.checkpoint("previous")
        if reached != [phase, iteration]:
            raise RunError(
                f"{self.folder} has no checkpoint of the iteration that other seeds are at; train anew with --out"
            )
        os.replace(self.folder / "previous.safetensors", self.folder / "checkpoint.safetensors")
        return state

    def write_metrics(self, progress: Progress, seconds: float) -> None:
        phase = self.model.ir.phases[progress.phase].name
        reached = {"phase": phase, "iteration": progress.iteration, "seconds": round(seconds, 3)}
        record = {**reached, **progress.metrics}
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def cut_metrics(self, phase: int, iteration: int) -> None:
        """Drops the records after a checkpoint: a resumed run writes them again."""
        if not (self.folder / "metrics.jsonl").is_file():
            return
        names = [p.name for p in self.model.ir.phases]
        kept = [r for r in self.metrics if (names.index(r["phase"]), r["iteration"]) <= (phase, iteration)]
        write_file(self.folder / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in kept).encode())


def _from_json(data: bytes) -> Any:
    """What JSON in UTF-8 holds. Raises ValueError if it is not JSON, or nested so deeply that reading it would end."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number of JSON")


def _is_seed(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_SEED


def _is_record(value: object, phases: set[str]) -> bool:
    """Whether a line of metrics is what `write_metrics` writes in one of `phases`."""
    if not isinstance(value, dict) or value.get("phase") not in list(phases):
        return False
    numbers = {name: number for name, number in value.items() if name != "phase"}
    return (
        type(numbers.get("iteration")) is int
        and "seconds" in numbers
        and all(type(number) in (int, float) for number in numbers.values())
    )


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> str:
    """SHA-256 of all that a checkpoint holds."""
    digest = hashlib.sha256(json.dumps(dict(sorted(about.items()))).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def all_finite(arrays: Iterable[Any]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def seed_folders(folder: Path) -> list[Path]:
    """The run directories of seeds in a folder of them, by seed."""
    found = (path.parent for path in folder.glob("seed-*/manifest.json"))
    return sorted(found, key=lambda path: (len(path.name), path))


def set_options(overrides: Mapping[str, str]) -> str:
    """The command line's words for overrides."""
    return " ".join(f"--set {shlex.quote(f'{path}={value}')}" for path, value in overrides.items())


def seed_options(first: int, number: int) -> str:
    """The command line's words for `number` seeds from `first` on."""
    return f"--seed {first} --seeds {number}" if number > 1 else f"--seed {first}"


def versions() -> dict[str, str]:
    """Of what the numbers depend on, by name."""
    packages = {name: version(name) for name in ("rbcc", "jax", "jaxlib", "optax", "numpy")}
    return {"python": platform.python_version(), **packages}
