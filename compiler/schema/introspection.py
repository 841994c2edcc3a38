"""The keys of a spec as data: what may stand where, and what it is for. The only walker of the tables of `spec.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import Discriminator

from rbcc.compiler.schema.spec import ByType, Equations, Expression, Learner, Name, Shorthand, Spec, Table
from rbcc.compiler.source import KeyPath


@dataclass(frozen=True)
class Key:
    """A key of a table: what it is, the form of its value (an annotation), and whether it must be given."""

    name: str
    description: str | None
    form: Any
    required: bool


def form_at(path: KeyPath) -> Any:
    """The form of the value at `path` of a spec, None where there can be no value."""
    form: Any = Spec
    for key in path:
        insides = (_inside(alternative, key) for alternative in alternatives(form))
        form = next((inside for inside in insides if inside is not None), None)
    return form


def scalar_forms_at(path: KeyPath) -> Iterator[Any]:
    """What a scalar at `path` may be: where it stands for a table, what the table's key of that may be."""
    for form in alternatives(form_at(path)):
        if not is_table(form):
            yield form
        elif issubclass(form, Shorthand):
            yield from alternatives(keys_of(form)[form.short].form)


def keys_at(path: KeyPath) -> dict[str, Key]:
    """The keys of the table at `path`, by name; of a table whose keys the author chooses, none."""
    tables = filter(is_table, alternatives(form_at(path)))
    return {name: key for table in tables for name, key in keys_of(table).items()}


def alternatives(form: Any) -> list[Any]:
    """The forms that `form` is a choice between, such as a list or a table; None is left out."""
    if get_origin(form) in (Union, UnionType):
        return [alternative for argument in get_args(form) for alternative in alternatives(argument)]
    if get_origin(form) is Annotated:
        text = next((known for known in (Expression, Equations, Name) if _extends(form, known)), None)
        return [text] if text is not None else alternatives(get_args(form)[0])
    return [] if form in (None, type(None)) else [form]


def is_tagged(form: Any) -> bool:
    """Whether a form is a union whose alternatives pydantic names by tags."""
    return any(isinstance(more, Discriminator) for more in getattr(form, "__metadata__", ()))


def is_table(form: Any) -> bool:
    """Whether a form is that of a table with a fixed set of keys."""
    return isinstance(form, type) and issubclass(form, Table)


@cache
def keys_of(table: type[Table]) -> dict[str, Key]:
    """The keys of a table that an author can write, by name."""
    hints = get_type_hints(table, include_extras=True)
    named = {field.alias or name: (name, field) for name, field in table.model_fields.items() if name != "types"}
    return {key: Key(key, field.description, hints[name], field.is_required()) for key, (name, field) in named.items()}


def tables() -> set[type[Table]]:
    """All tables of which a spec can consist."""
    known: set[type[Table]] = set()
    pending: list[Any] = [Spec]
    while pending:
        form = pending.pop()
        if not is_table(form):
            pending += alternatives(form) if alternatives(form) != [form] else get_args(form)
        elif form not in known:
            known.add(form)
            pending += [key.form for key in keys_of(form).values()]
            pending += [Learner] if issubclass(form, ByType) else []
    return known


def _extends(form: Any, known: Any) -> bool:
    """Whether an annotation is `known`, perhaps with more said of it."""
    return get_args(form)[: len(get_args(known))] == get_args(known)


def _inside(form: Any, key: str | int) -> Any:
    """The form of what stands at `key` in a table or list of form `form`."""
    if is_table(form):
        if key in keys_of(form):
            return keys_of(form)[str(key)].form
        return Learner if issubclass(form, ByType) and isinstance(key, str) else None
    if get_origin(form) is dict:
        return get_args(form)[1] if isinstance(key, str) else None
    if get_origin(form) in (list, tuple):
        return get_args(form)[0] if isinstance(key, int) else None
    return None
