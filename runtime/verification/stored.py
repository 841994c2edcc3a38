"""Verifications as they lie in run directories."""

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from rbcc.runtime.verification.results import Equilibrium


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
