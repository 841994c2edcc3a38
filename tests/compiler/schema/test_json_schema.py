"""`rbcc schema`: editors accept what rbcc accepts, and no unknown key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rbcc.compiler.diagnostics import Diagnostics, Source
from rbcc.compiler.schema.defaults import DEFAULTS
from rbcc.compiler.schema.json_schema import schema
from rbcc.compiler.semantics.reserved import SETTINGS
from rbcc.compiler.source import Document, parse, shipped_models


SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SPECS = [*sorted(shipped_models().glob("*.yaml")), *(Path(__file__).parents[2] / "specs").glob("*.yaml")]
WHOLE = """
rbcc: 1
model: m
horizon: 3
parameters: {a: 1, b: a + 1, c: true, d: {value: 2, unit: money}}
agents:
  buyer:
    count: 2
    index: i
    state: {x: 0, y: {start: false}}
    actions: {q: {choices: [0, 1]}, p: {choices: {from: 0, to: 1, step: 0.5}}, s: {choose: seller}}
    observes: [x, {value: x / 2, scale: 3}, time]
    reward: 0
  seller: {count: 1}
equations: {all: "x'[i] = x[i]"}
training:
  phases: {one: {iterations: 1, economies: 2, buyer: {entropy: 0}}}
  anneal: {a: progress, buyer.q: {open: [0, 1], from: 0}}
  buyer: {clip: 0.1 * progress}
verify: {target: 1%}
"""


def problems(text: str) -> list[tuple[str, str]]:
    """(path, message) of everything that the schema says against a spec."""
    source, diagnostics = Source("spec", text), Diagnostics()
    root = parse(source, diagnostics)
    assert root is not None, diagnostics.found
    found = VALIDATOR.iter_errors(Document(root, (source,)).plain)
    return [(".".join(map(str, error.absolute_path)), error.message) for error in found]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_models_are_valid(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


def test_shorthands_are_valid() -> None:
    assert problems(WHOLE) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("horizon: 3", "horizom: 3", ""),
        ("horizon: 3", "horizon: three", "horizon"),
        ("horizon: 3", "horizon: 0", "horizon"),
        ("rbcc: 1", "rbcc: 2", "rbcc"),
        ("model: m\n", "", ""),
        ("    count: 2\n", "", "agents.buyer"),
        ("count: 2", "cuont: 2", "agents.buyer"),
        ("unit: money", "units: money", "parameters.d"),
        ("step: 0.5", "stop: 0.5", "agents.buyer.actions.p.choices"),
        ("choices: [0, 1]", "choices: [0, b]", "agents.buyer.actions.q.choices"),
        ("start: false", "begin: false", "agents.buyer.state.y"),
        ("buyer: {entropy: 0}", "buyer: {entropi: 0}", "training.phases.one.buyer"),
        ("{clip: 0.1", "{klip: 0.1", "training.buyer"),
        ("iterations: 1, ", "", "training.phases.one"),
        ("open: [0, 1]", "open: [0]", "training.anneal.buyer.q"),
        ("target: 1%", "target: 1.5", "verify.target"),
        ("target: 1%", "targets: 1%", "verify"),
    ],
)
def test_mistakes_are_found(old: str, new: str, path: str) -> None:
    assert old in WHOLE
    found = problems(WHOLE.replace(old, new))
    assert found
    assert any(place == path or place.startswith(f"{path}.") for place, _ in found), found


@pytest.mark.parametrize(
    "text",
    [
        "extends: cournot\n",
        "extends: cournot\nmodel: m\nparameters: {slope: null, cost: 3, choke_price: {value: 2}}\n",
        "extends: cournot\nagents: {seller: {count: 3, actions: {quantity: {choices: {step: 2}}}}}\n",
        "extends: cournot\ntraining: {phases: {learn: null, more: {iterations: 3, economies: 4}}, seller: {clip: null}}\n",
        "extends: cournot\nequations: {market: null}\nverify: null\n",
    ],
)
def test_a_spec_that_extends_another_is_a_part(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "extends: cournot\nparametres: {}\n",
        "extends: cournot\nagents: {seller: {cuont: 3}}\n",
        "extends: cournot\ntraining: {seller: {klip: 1}}\n",
        "extends: cournot\nagents: {seller: {actions: {quantity: {choices: {steps: 2}}}}}\n",
    ],
)
def test_a_part_has_no_unknown_keys(text: str) -> None:
    assert problems(text)


def tables(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for inner in node.values():
            yield from tables(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from tables(inner)


def test_every_key_has_words_for_people() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        for table in tables(definition):
            for key, value in table["properties"].items():
                assert value["description"], f"{name}.{key}"
                assert "title" not in value


def test_defaults_of_learning_are_told() -> None:
    settings = SCHEMA["$defs"]["Learner"]["properties"]
    assert settings["learning_rate"]["description"].endswith(f"; by default {DEFAULTS.learning_rate}")
    assert settings["network"]["description"].endswith("; by default [64, 64]")
    assert "by default" not in settings["value_clip"]["description"]


def test_all_keys_of_training_are_offered() -> None:
    keys = {key for name in ("Learner", "Phase", "Training") for key in SCHEMA["$defs"][name]["properties"]}
    assert keys == SETTINGS - {"types"}
