"""The folder of a sweep: a run directory for each point and seed, and what the sweep is.

    sweep.json                spec, swept values, points, seeds, which runs train in one program
    point-1/seed-0, ...       run directories, as `rbcc train` writes them

It is written whole before any training, so that a sweep that is killed can be resumed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime.errors import RunError
from rbcc.runtime.storage.run_directory import Run


NAME = "sweep.json"

_KEYS = {
    "model": str,
    "spec": str,
    "values": dict,
    "overrides": dict,
    "seeds": list,
    "points": dict,
    "programs": list,
    "versions": dict,
}
"""What `sweep.json` has at least, and of which type."""


def is_sweep(path: str | Path) -> bool:
    """Whether `path` is the folder of a sweep."""
    return (Path(path) / NAME).is_file()


@dataclass(frozen=True)
class Sweep:
    """Trainings at several points with several seeds.

    `about` is what `sweep.json` holds: "values" by swept path, "points" by name with the values of each, "programs",
    lists of names of run directories that train together, and what is the same for all.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The sweep in `folder`. Raises RunError if there is none, or it is damaged."""
        folder = Path(folder)
        path = folder / NAME
        if not path.is_file():
            raise RunError(f"{folder} is not the folder of a sweep; 'rbcc sweep model.yaml --set PATH=A,B' makes one")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            wrong = [name for name, kind in _KEYS.items() if not isinstance(about.get(name), kind)]
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        if not wrong and [type(number) for number in about["seeds"]] != [int, int]:
            wrong = ["seeds"]
        if wrong:
            raise RunError(f"{path} is damaged: its '{wrong[0]}' is missing or of the wrong type")
        return cls(folder, about)

    @property
    def varied(self) -> tuple[str, ...]:
        """The paths that are swept, in the order in which they were given."""
        return tuple(self.about["values"])

    @property
    def names(self) -> list[str]:
        """The names of all run directories, point by point."""
        first, number = self.about["seeds"]
        return [f"{point}/seed-{seed}" for point in self.about["points"] for seed in range(first, first + number)]

    def stored_runs(self) -> list[Run]:
        """All runs, point by point. Raises RunError if one is missing or damaged."""
        return [Run.open(self.folder / name) for name in self.names]

    def with_programs(self, programs: Sequence[Sequence[str]]) -> Self:
        """The sweep with runs that train together divided in another way; also on disk."""
        sweep = replace(self, about={**self.about, "programs": [list(program) for program in programs]})
        write(self.folder, sweep.about)
        return sweep


def write(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes what a sweep is into its folder."""
    write_file(folder / NAME, (json.dumps(about, indent=2) + "\n").encode())
