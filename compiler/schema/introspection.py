"""The keys of a spec as data, for tools that show them: what may stand where, and what it is for."""

from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from rbcc.compiler.schema.spec import Expression, Learner, Name, Spec, Table
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
    for part in path:
        form = next((inside for one in alternatives(form) if (inside := _inside(one, part)) is not None), None)
    return form


def keys_at(path: KeyPath) -> dict[str, Key]:
    """The keys of the table at `path`, by name; of a table whose keys the author chooses, none."""
    return {name: key for one in alternatives(form_at(path)) if is_table(one) for name, key in _keys_of(one).items()}


def alternatives(form: Any) -> list[Any]:
    """The forms that `form` is a choice between, such as a list or a table; None is left out."""
    if get_origin(form) in (Union, UnionType):
        return [one for argument in get_args(form) for one in alternatives(argument)]
    if get_origin(form) is Annotated and form not in (Expression, Name):
        return alternatives(get_args(form)[0])
    return [] if form in (None, type(None)) else [form]


def is_table(form: Any) -> bool:
    """Whether a form is that of a table with a fixed set of keys."""
    return isinstance(form, type) and issubclass(form, Table)


@cache
def _keys_of(table: type[Table]) -> dict[str, Key]:
    hints = get_type_hints(table, include_extras=True)
    named = {field.alias or name: (name, field) for name, field in table.model_fields.items() if name != "types"}
    return {key: Key(key, field.description, hints[name], field.is_required()) for key, (name, field) in named.items()}


def _inside(form: Any, part: str | int) -> Any:
    """The form of what stands at `part` in a table or list of form `form`."""
    if is_table(form):
        if part in _keys_of(form):
            return _keys_of(form)[str(part)].form
        return Learner if "types" in form.model_fields and isinstance(part, str) else None
    if get_origin(form) is dict:
        return get_args(form)[1] if isinstance(part, str) else None
    if get_origin(form) in (list, tuple):
        return get_args(form)[0] if isinstance(part, int) else None
    return None
