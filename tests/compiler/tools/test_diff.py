"""`rbcc diff`: what changed, and nothing that did not."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models
from rbcc.compiler.tools.diff import Change, as_json, difference, model_of, show


MARKET = Path(__file__).parents[2] / "specs" / "market.yaml"
MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))


@pytest.fixture
def changed(write_spec):
    """The lines that tell of the market with pieces of its text replaced."""

    def change(*pairs: tuple[str, str]) -> list[str]:
        text = MARKET.read_text(encoding="utf-8")
        for old, new in pairs:
            assert re.search(old, text), old
            text = re.sub(old, new, text)
        found = difference(compile_spec(MARKET).model, compile_spec(write_spec(text)).model)
        return [line.strip() for line in show(found).splitlines()]

    return change


@pytest.mark.parametrize("name", MODELS)
def test_same(name: str) -> None:
    assert difference(compile_spec(name).model, compile_spec(name).model) == []


def test_layout_order_comments_and_words_do_not_count(write_spec) -> None:
    def shuffled(node: object) -> object:
        if isinstance(node, dict):
            items = [(key, shuffled(value)) for key, value in node.items()]
            random.Random(1).shuffle(items)
            return dict(items)
        if isinstance(node, str) and "\n" in node:
            lines = [f"{line}  # a comment" for line in node.splitlines()]
            return "\n".join(reversed(lines)) + "\n"
        return node

    plain = yaml.safe_load((shipped_models() / "closed_rbc.yaml").read_text(encoding="utf-8"))
    plain = shuffled(plain)
    plain["title"], plain["parameters"]["eta"]["doc"] = "Another title", "other words"  # type: ignore[index]
    plain["verify"]["target"] = 0.01  # type: ignore[index]
    before = compile_spec("closed_rbc").model
    after = compile_spec(write_spec(yaml.safe_dump(plain, sort_keys=False, width=1000))).model
    assert [phase.name for phase in after.phases] != [phase.name for phase in before.phases]
    assert [c for c in difference(before, after) if c.name != "phases"] == []


def test_names_of_indices_do_not_count(changed) -> None:
    assert changed((r"index: j", "index: s"), (r"\[j\]", "[s]"), (r"\bj,", "s,"), (r",j\]", ",s]"), (r"== j\b", "== s"), (r"\(j\b", "(s")) == ["no difference"]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "lines"),
    [
        ([("cost: {value: 2,", "cost: {value: 3,")], ["parameters", "~ cost: 2 money/good -> 3 money/good"]),
        ([("count: 6", "count: 9")], ["agent types", "~ buyer.count: 6 -> 9"]),
        ([("horizon: 4", "horizon: 5")], [
            "model", "~ horizon: 4 -> 5", "observations",
            "~ buyer sees time: linear, scale 4 -> linear, scale 5", "~ seller sees time: linear, scale 4 -> linear, scale 5",
        ]),
        ([("discount: 0.99", "discount: 0.9")], ["agent types", "~ buyer.discount: 0.99 -> 0.9", "~ seller.discount: 0.99 -> 0.9"]),
        (
            [("start: 100", "start: 90")],
            [
                "states", "~ buyer.budget: 100 money -> 90 money", "observations",
                "~ buyer sees buyer.budget[i]: log, scale 100 -> log, scale 90",
            ],
        ),
        (
            [(r"choices: \[0, 1, 2\]", "choices: [0, 1, 2, 3]")],
            ["choices", "~ buyer.demand: 0, 1, 2 good for each seller -> 0, 1, 2, 3 good for each seller"],
        ),
        (
            [("to: 10, step: 1", "to: 10, step: 2")],
            ["choices", "~ seller.set_price: 0 to 10 by 1 money/good -> 0 to 10 by 2 money/good"],
        ),
        (
            [(r"\(price\[j\] - cost\) \* sold", "(price[j] - 2 * cost) * sold")],
            ["equations", "- profit[j] = (price[j] - cost) * sold[j]", "+ profit[j] = (price[j] - 2 * cost) * sold[j]"],
        ),
        (
            [("reward: profit", "reward: 2 * profit")],
            ["rewards", "- seller.reward = profit[j]", "+ seller.reward = 2 * profit[j]"],
        ),
        (
            [(r"observes: \[price, time\]", "observes: [price]")],
            ["observations", "- seller sees time: linear, scale 4"],
        ),
        ([("indicators:", "invariants: ['sold[j] >= 0']\nindicators:")], ["invariants", "+ sold[j] >= 0"]),
        ([("indicators:", "moments: {log: [dear]}\nindicators:")], ["indicators", "+ cycles and responses of dear: in percent"]),
        ([(r'visits: "mean', 'visits: "2 * mean')], ["indicators", "~ visits: mean(j, visits[j]) -> 2 * mean(j, visits[j])"]),
        (
            [("    reward: profit", "    constraints: {c: {violation: 'max(-profit[j], 0)'}}\n    reward: profit")],
            ["constraints", "+ seller.c: max(-profit[j], 0), in every step"],
        ),
        (
            [("indicators:", "identities: {i: \"price'[j] == set_price[j]\"}\nindicators:")],
            ["identities", "+ i: seller.price'[j] == seller.set_price[j]"],
        ),
        ([("indicators:", "verify: {target: 2%, iterations: 9}\nindicators:")], ["verification", "~ target: 1% -> 2%", "~ iterations: 800 -> 9"]),
    ],
)  # fmt: skip
def test_one_change(changed, pairs: list[tuple[str, str]], lines: list[str]) -> None:
    assert changed(*pairs) == lines


@pytest.mark.parametrize(
    ("pairs", "lines"),
    [
        ([(r"\bcost\b", "unit_cost")], ["names", "cost is now unit_cost"]),
        ([(r"\bbudget\b", "purse")], ["names", "buyer.budget is now buyer.purse"]),
        ([(r"\bset_price\b", "ask")], ["names", "seller.set_price is now seller.ask"]),
        ([(r"\bprofit\b", "gain")], ["names", "profit is now gain"]),
        ([(r"\bseller\b", "shop")], ["names", "seller is now shop"]),
        (
            [(r"\bcost: {value: 2", "unit_cost: {value: 3"), (r"\bcost\b", "unit_cost")],
            ["names", "cost is now unit_cost", "parameters", "~ unit_cost: 2 money/good -> 3 money/good"],
        ),
        (
            [(r"\bseller\b", "shop"), (r"\bcost\b", "outlay"), (r"\bsold\b", "sales")],
            ["names", "seller is now shop", "cost is now outlay", "sold is now sales"],
        ),
    ],
)  # fmt: skip
def test_renamed(changed, pairs: list[tuple[str, str]], lines: list[str]) -> None:
    assert changed(*pairs) == lines


def test_what_only_has_the_same_value_is_not_renamed(write_spec) -> None:
    text = MARKET.read_text(encoding="utf-8")
    old = text.replace("parameters:\n", "parameters:\n  a: {value: 7, unit: money}\n").replace("buyer.reward", "")
    new = text.replace("parameters:\n", "parameters:\n  b: {value: 7, unit: money}\n")
    old = old.replace("* budget'[i]", "* (budget'[i] + a)")
    new = new.replace("cost) * sold[j]", "cost) * sold[j] + b")
    found = difference(*(compile_spec(write_spec(t, f"{k}.yaml")).model for k, t in enumerate((old, new))))
    assert {(c.kind, c.name) for c in found} == {
        ("removed", "a"), ("added", "b"), ("changed", "buyer.reward"), ("changed", "profit"),
    }  # fmt: skip


def test_training_is_told_once_for_all_places() -> None:
    base = compile_spec("open_rbc").model

    def lines(**overrides: object) -> list[str]:
        changes = difference(
            base, compile_spec("open_rbc", {k.replace("__", "."): v for k, v in overrides.items()}).model
        )
        return [line.strip() for line in show(changes).splitlines()]

    assert lines(training__default__clip=0.2) == ["training", "~ clip: 0.1 -> 0.2"]
    assert lines(training__firm__clip=0.2) == ["training", "~ clip (explore.firm, polish.firm): 0.1 -> 0.2"]
    assert lines(training__phases__polish__clip=0.2) == ["training", "~ clip (polish): 0.1 -> 0.2"]
    assert lines(training__phases__polish__economies=32) == ["training", "~ economies (polish): 96 -> 32"]
    assert lines(training__phases__polish="null") == [
        "training", "~ phases: explore, polish -> explore", "- phase polish: 2000 iterations of 96 economies",
    ]  # fmt: skip
    assert lines(training__precision="bf16") == ["training", "~ precision: float32 -> bf16"]


def test_functions_of_ones_own(write_spec, tmp_path: Path) -> None:
    models = []
    for number in (1, 2):
        text = f"from rbcc import primitive\n\n\n@primitive(units='a -> a')\ndef twice(x):\n    return {number} * x\n"
        (tmp_path / f"f{number}.py").write_text(text)
        spec = MARKET.read_text().replace("sum(i, demand[i,j])", "twice(sum(i, demand[i,j]))")
        models.append(compile_spec(write_spec(f"use: [f{number}.py]\n{spec}", f"{number}.yaml")).model)
    assert show(difference(*models)).splitlines() == [
        "functions",
        "  ~ twice:",
        "      - def twice(x):",
        "      -     return 1 * x",
        "      + def twice(x):",
        "      +     return 2 * x",
    ]


def test_backwards_is_the_mirror_image() -> None:
    a, b = compile_spec("open_rbc").model, compile_spec("open_rbc_hybrid").model
    mirrored = {"added": "removed", "removed": "added"}
    forth = {(c.kind, c.section, c.name, c.before, c.after) for c in difference(a, b)}
    back = {(mirrored.get(c.kind, c.kind), c.section, c.name, c.after, c.before) for c in difference(b, a)}
    assert forth == back


def test_runs(tmp_path: Path) -> None:
    """A run directory stands for the spec in it, one of several seeds for their common spec."""
    for folder in (tmp_path / "run", tmp_path / "many" / "seed-0"):
        folder.mkdir(parents=True)
        (folder / "spec.yaml").write_text(
            (shipped_models() / "cournot.yaml").read_text().replace("value: 10,", "value: 12,")
        )
    expected = [Change("changed", "parameters", "cost", "10 money/good", "12 money/good")]
    for folder in ("run", "many"):
        assert difference(model_of("cournot"), model_of(str(tmp_path / folder))) == expected
    with pytest.raises(CompileError, match="is a folder"):
        model_of(str(tmp_path))


def test_words_of_schedules_are_those_of_specs(write_spec: Callable[..., Path]) -> None:
    training = "{schedules: {cool: 1 - progress}, phases: {a: {iterations: 9, economies: 1}}, default: {entropy: X}}"
    texts = [
        f"extends: cournot\nmodel: m\ntraining: {training.replace('X', x)}\n" for x in ("cool", "cool * iteration")
    ]
    lines = show(difference(*(compile_spec(write_spec(text)).model for text in texts)))
    assert "cool -> cool * iteration" in lines
    assert "@" not in lines


def test_json() -> None:
    fixed = {"verify.economies": 64}  # else there are more in short episodes
    models = (compile_spec("cournot", {**fixed, "horizon": steps}).model for steps in (1, 2))
    (change,) = json.loads(as_json(difference(*models)))
    assert change == {"kind": "changed", "section": "model", "name": "horizon", "before": "1", "after": "2"}
