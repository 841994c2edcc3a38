"""The keys of a spec as data."""

from typing import get_args

import pytest

from rbcc.compiler.schema.introspection import alternatives, form_at, is_table, keys_at, scalar_forms_at, tables
from rbcc.compiler.schema.spec import ByType, Expression, Grid, Learner, Parameter, Shorthand, Spec, Table
from rbcc.compiler.source import KeyPath


@pytest.mark.parametrize(
    ("path", "some"),
    [
        ((), {"rbcc", "agents", "training"}),
        (("agents", "any"), {"count", "observes"}),
        (("agents", "count"), {"count", "observes"}),  # a type may be called as a key is
        (("parameters", "value"), {"value", "unit"}),
        (("agents", "any", "actions", "any", "choices"), {"from", "to", "step"}),
        (("agents", "any", "observes", 3), {"value", "scale"}),
        (("training", "anneal", "type.choice"), {"open", "from"}),
        (("training", "any"), {"network", "clip"}),
        (("training", "phases", "any", "other"), {"network", "clip"}),
    ],
)
def test_keys_of_a_table(path: KeyPath, some: set[str]) -> None:
    assert some <= set(keys_at(path))


@pytest.mark.parametrize(
    "path", [("parameters",), ("agents", "any", "state"), ("nothing",), ("model", "x"), ("units", "x")]
)
def test_where_the_author_chooses_the_keys_there_are_none(path: KeyPath) -> None:
    assert keys_at(path) == {}


def test_forms() -> None:
    assert form_at(("parameters", "a", "unit")) == str | None
    assert form_at(("indicators", "a")) == Expression
    assert form_at(("training", "phases", "a", "b")) is Learner
    assert form_at(("training", "types")) is Learner  # a type of that name
    assert form_at(("nothing", "a")) is None
    assert alternatives(form_at(("parameters", "a"))) == [Parameter]
    assert Grid in alternatives(form_at(("agents", "a", "actions", "b", "choices")))
    assert get_args(alternatives(form_at(("agents", "a", "state", "b", "encode")))[0]) == ("linear", "log", "digits")
    assert Expression in alternatives(form_at(("parameters", "a", "value")))
    assert is_table(Spec)
    assert not is_table(Expression)


def test_every_needed_key_is_one_of_the_language() -> None:
    assert {key.name for key in keys_at(()).values() if key.required} == {"rbcc", "model", "horizon", "agents"}
    assert keys_at(())["horizon"].description == "steps in an episode"


@pytest.mark.parametrize(
    "path",
    [
        ("parameters", "a"),  # stands for its value
        ("agents", "a", "state", "b"),
        ("agents", "a", "observes", 0),
        ("agents", "a", "actions", "b", "between", 1),
        ("training", "anneal", "a"),
        ("training", "a", "clip"),
        ("state", "a", "markov", "transitions", 0, 0),
    ],
)
def test_scalars_that_are_expressions(path: KeyPath) -> None:
    assert Expression in scalar_forms_at(path)


def test_all_tables_of_the_language_are_reached() -> None:
    def below(table: type[Table]) -> set[type[Table]]:
        return {table}.union(*map(below, table.__subclasses__()))

    assert tables() == below(Table) - {Table, Shorthand, ByType}
