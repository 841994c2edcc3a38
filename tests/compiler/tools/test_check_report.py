"""What `rbcc check` says without running a model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc import cli
from rbcc.compiler import ir
from rbcc.compiler.tools.check_report import report_on


LEDGER = Path(__file__).parents[2] / "specs" / "ledger.yaml"


def test_report_says_what_is_proved(write_spec: Callable[..., Path]) -> None:
    text = report_on(LEDGER).text()
    assert "rent                        -                    +   count(seller) * rent" in text
    assert text.endswith("account money: proved\naccount goods: proved")
    claims = "identities: {all: 'tolls == tolls', none: 'tolls == 0'}\ninvariants: ['tolls >= 0']\n"
    found = report_on(write_spec(f"rbcc: 1\nextends: {LEDGER}\nmodel: m\n{claims}"))
    assert found.text().splitlines()[-3:] == [
        "identity all: proved",
        "identity none: tested only",
        "invariant tolls >= 0: tested only",
    ]


def test_nothing_declared() -> None:
    assert "no accounts, identities or invariants are declared" in report_on("cournot").text()


def test_data_of_a_good_spec() -> None:
    data = json.loads(json.dumps(report_on(LEDGER).as_data()))
    assert data["model"] == "ledger"
    assert data["diagnostics"] == []
    assert [(claim["kind"], claim["name"], claim["proved"]) for claim in data["claims"]] == [
        ("account", "money", True),
        ("account", "goods", True),
    ]
    assert data["claims"][0]["line"] == 46
    assert data["flows"][1] == {
        "account": "goods",
        "columns": ["seller", "the outside"],
        "rows": [
            {"flow": "harvest", "amount": "harvest", "gains": ["1", "-1"]},
            {"flow": "eaten", "amount": "sold[j]", "gains": ["-1", "1"]},
        ],
    }


def test_the_file_asked_for_comes_first(write_spec: Callable[..., Path]) -> None:
    for name in ("a.yaml", "z.yaml"):
        write_spec(LEDGER.read_text(), name)
    path = write_spec(
        "rbcc: 1\nextends: a.yaml\nmodel: m\nequations:\n  books: |\n    purse'[i] = purse + tols\n", "m.yaml"
    )
    again = write_spec(path.read_text().replace("a.yaml", "z.yaml"), "m2.yaml")
    codes = [[d.code for d in report_on(spec).diagnostics] for spec in (path, again)]
    assert codes[0] == codes[1]
    assert codes[0][0] == "RB301"


def test_then_come_those_that_it_extends_one_after_another(write_spec: Callable[..., Path]) -> None:
    ledger = write_spec(LEDGER.read_text(), "a.yaml")
    middle = write_spec("rbcc: 1\nextends: a.yaml\nmodel: z\nindicators: {wrong: nowhere}\n", "z.yaml")
    path = write_spec(
        "rbcc: 1\nextends: z.yaml\nmodel: m\nequations:\n  books: |\n    purse'[i] = purse + tols\n", "m.yaml"
    )
    files = [d.span.source.name for d in report_on(path).diagnostics if d.span]
    assert list(dict.fromkeys(files)) == [str(path), str(middle), str(ledger)]


def test_data_of_a_bad_spec(write_spec: Callable[..., Path]) -> None:
    path = write_spec(f"rbcc: 1\nextends: {LEDGER}\nmodel: m\nequations:\n  books: |\n    purse'[i] = purse + tols\n")
    data = json.loads(json.dumps(report_on(path).as_data()))
    assert data["model"] is None
    first = data["diagnostics"][0]
    assert first["code"] == "RB301"
    assert first["severity"] == "error"
    assert (first["file"], first["line"], first["column"], first["end"]) == (
        str(path),
        6,
        17,
        {"line": 6, "column": 22},
    )
    assert set(first) >= {"message", "expected", "found", "help", "labels"}
    assert first["labels"][0]["text"] == "declared at"
    assert first["labels"][0]["file"] == str(LEDGER)
    missing = report_on("nowhere.yaml").diagnostics[0]
    assert missing.code == "RB001"
    assert report_on("nowhere.yaml").as_data()["diagnostics"][0]["line"] is None


def test_findings_are_printed_before_proofs_begin(
    write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_spec(
        f"rbcc: 1\nextends: {LEDGER}\nmodel: m\nparameters: {{spare: 1}}\nidentities: {{all: 'tolls == tolls'}}\n"
    )
    printed: list[str] = []

    def proofs(model: ir.Model) -> tuple[bool, ...]:
        printed.append(capsys.readouterr().err)
        return tuple(True for _ in model.identities)

    monkeypatch.setattr("rbcc.compiler.tools.check_report.proofs", proofs)
    monkeypatch.setattr(sys, "argv", ["rbcc", "check", "--fast", str(path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "parameter 'spare' is never used" in printed[0]
    assert capsys.readouterr().out.endswith("identity all: proved\n")
