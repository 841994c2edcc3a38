"""Verifications as they lie in run directories."""

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from rbcc.runtime.errors import RunError
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.verification.results import Equilibrium


def of_run(run: Run) -> Equilibrium | None:
    """The verification in a run directory, None if there is none of this training.

    Raises RunError if it is damaged, or of another version of rbcc.
    """
    path = run.folder / "equilibrium.json"
    if not path.is_file():
        return None
    try:
        result = read(path)
    except ValueError as error:
        raise RunError(f"{error}; make it again: rbcc verify {run.folder}") from None
    return result if result.settings.get("digest") == run.manifest["digest"] else None


def read(path: Path) -> Equilibrium:
    """The verification in a file that `verify` wrote. Raises ValueError if it is damaged, or of another version."""
    try:
        return _decoded(Equilibrium, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or was written by another version of rbcc") from error


def _decoded(kind: Any, data: Any) -> Any:
    """The record, or what else is of the type `kind`, that `dataclasses.asdict` and JSON made `data` of."""
    outer, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        types = get_type_hints(kind)
        return kind(**{field.name: _decoded(types[field.name], data[field.name]) for field in fields(kind)})  # pyright: ignore[reportCallIssue]
    if outer in (Union, UnionType):
        return None if data is None else _decoded(next(one for one in inner if one is not type(None)), data)
    if outer is tuple:
        return tuple(_decoded(inner[0], item) for item in data)
    if outer is dict:
        return {name: _decoded(inner[1], value) for name, value in data.items()}
    return kind(data) if isinstance(kind, type) and issubclass(kind, Enum) else data
