"""What `rbcc check` says without running a model."""

import json
from collections.abc import Callable
from pathlib import Path

from rbcc.compiler.examine import as_data, examine, report


LEDGER = Path(__file__).parent.parent / "specs" / "ledger.yaml"


def test_report_says_what_is_proved(write_spec: Callable[..., Path]) -> None:
    text = report(examine(LEDGER))
    assert "rent                        -                    +   count(seller) * rent" in text
    assert text.endswith("account money: proved\naccount goods: proved")
    claims = "identities: {all: 'tolls == tolls', none: 'tolls == 0'}\ninvariants: ['tolls >= 0']\n"
    found = examine(write_spec(f"rbcc: 1\nextends: {LEDGER}\nmodel: m\n{claims}"))
    assert report(found).splitlines()[-3:] == [
        "identity all: proved",
        "identity none: tested only",
        "invariant tolls >= 0: tested only",
    ]


def test_nothing_declared(write_spec: Callable[..., Path]) -> None:
    assert "no accounts, identities or invariants are declared" in report(examine("cournot"))


def test_data_of_a_good_spec() -> None:
    data = json.loads(json.dumps(as_data(examine(LEDGER))))
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


def test_data_of_a_bad_spec(write_spec: Callable[..., Path]) -> None:
    path = write_spec(f"rbcc: 1\nextends: {LEDGER}\nmodel: m\nequations:\n  books: |\n    purse'[i] = purse + tols\n")
    data = json.loads(json.dumps(as_data(examine(path))))
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
    missing = examine("nowhere.yaml").diagnostics[0]
    assert missing.code == "RB001"
    assert as_data(examine("nowhere.yaml"))["diagnostics"][0]["line"] is None
