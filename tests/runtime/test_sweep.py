"""Sweeps: runs at several points with several seeds in one program, each as `rbcc train` would have written it."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import rbcc
from rbcc import cli
from rbcc.runtime.economy.variants import arguments, programs
from rbcc.runtime.errors import TooLarge


FEW = {
    "training.default.network": "[4]",
    "training.phases.learn.economies": 16,
    "training.phases.learn.iterations": 6,
    "verify.iterations": 4,
    "verify.economies": 16,
    "verify.episodes": 32,
}
COSTS = {"parameters.cost": [5, 20]}


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["rbcc", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(str(ended.value.code or 0))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> rbcc.Sweep:
    out = tmp_path_factory.mktemp("sweeps") / "cournot"
    return rbcc.sweep("cournot", COSTS, FEW, seeds=2, seed=3, out=out, say=said.append)


def distance(one: rbcc.Run, other: rbcc.Run) -> float:
    """The largest difference between two runs' networks."""
    ours, theirs = (load_file(run.folder / "checkpoint.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name].astype(float) - theirs[name]).max(initial=0)) for name in ours)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_points_and_seeds_train_in_one_program(said: list[str], swept: rbcc.Sweep) -> None:
    assert [run.manifest["overrides"]["parameters.cost"] for run in swept] == ["5", "5", "20", "20"]
    assert [run.manifest["seed"] for run in swept] == [3, 4, 3, 4]
    assert all(run.finished for run in swept)
    assert [words for words in said if words.startswith(("program", "compiling"))] == [
        "program 1 of 1: 4 runs",
        "compiling the program of phase learn",
    ]


@pytest.mark.slow
def test_runs_that_end_by_their_gains_train_in_turn(tmp_path: Path) -> None:
    said: list[str] = []
    until = {**FEW, "training.phases.learn.until": "90%"}
    found = rbcc.sweep("cournot", COSTS, until, seed=3, out=tmp_path / "sweep", say=said.append)
    assert [words for words in said if words.startswith("program")] == [
        "program 1 of 2: 1 run",
        "program 2 of 2: 1 run",
    ]
    assert all("gain_share.seller" in run.metrics[-1] for run in found)


def test_a_run_is_the_one_that_train_writes(swept: rbcc.Sweep, tmp_path: Path) -> None:
    alone = rbcc.train("cournot", {**FEW, "parameters.cost": 20}, seed=4, out=tmp_path / "alone")
    run = swept[3]
    for name in ("digest", "model", "spec", "overrides", "seed", "seeds", "status", "versions"):
        assert run.manifest[name] == alone.manifest[name], name
    assert run.manifest.keys() == alone.manifest.keys()
    assert sorted(p.name for p in run.folder.iterdir()) == sorted(p.name for p in alone.folder.iterdir())
    for name in ("spec.yaml", "module.py"):
        assert (run.folder / name).read_bytes() == (alone.folder / name).read_bytes()
    assert distance(run, alone) < 1e-3
    assert min(distance(swept[number], alone) for number in (1, 2)) > 1e-3
    ours, theirs = (one.to_frame().drop(columns=["phase", "seconds"]) for one in (run, alone))
    assert list(ours) == list(theirs)
    assert np.allclose(ours, theirs, rtol=1e-2, atol=1e-3)


def test_models_that_differ_in_more_than_values_are_programs_of_their_own() -> None:
    usual = {"parameters.cost": 5, "parameters.slope": 1}
    settings = [
        {},
        {"agents.seller.count": 3},
        {"parameters.slope": 2},
        {"training.default.entropy": 0.1},
        {"parameters.cost": "choke_price / 10"},
        {"parameters.cost": 20, "agents.seller.count": 3},
        {"parameters.cost": 10, "verify.target": "2%"},
    ]
    models = [rbcc.compile("cournot", usual | changes) for changes in settings]
    assert programs(models) == [[0, 2, 6], [1, 5], [3], [4]]
    given = arguments([models[place] for place in (0, 2, 6)])
    assert [{name: float(value) for name, value in own.items()} for own in given] == [
        {"slope": 1, "cost": 5},
        {"slope": 2, "cost": 5},
        {"slope": 1, "cost": 10},
    ]
    assert arguments([models[3]]) == [{}]


def test_what_is_annealed_and_what_is_computed_follow_from_values(write_spec: Callable[..., Path]) -> None:
    """A swept parameter from which others are computed moves those; one that is annealed stays as annealed."""
    spec = write_spec("""
rbcc: 1
model: shifted
horizon: 1
discount: 1
parameters: {a: 1, b: 2 * a, c: 5}
agents:
  x:
    count: 1
    actions: {q: {choices: [0, 1]}}
    reward: q
indicators: {b: b, c: c}
training:
  phases: {learn: {iterations: 2, economies: 2, anneal: {c: 7}}}
  default: {network: [2]}
silence: [RB207, RB802, RB804]
""")
    sweep = rbcc.sweep(spec, {"parameters.a": [1, 3], "parameters.c": [5, 6]}, out=spec.parent / "sweep")
    frame = sweep.to_frame()
    assert list(frame["indicator.b"]) == [2, 2, 6, 6]
    assert list(frame["indicator.c"]) == [7] * 4


# --- stops -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def test_killed_and_resumed_gives_the_same_table(
    swept: rbcc.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbcc.runtime.session.CHECKPOINT_SECONDS", 0.0)

    def kill(runs: object, progress: list[object]) -> None:
        if progress[0].iteration == 4:  # type: ignore[attr-defined]
            raise Killed

    asked = {"seeds": 2, "seed": 3, "out": tmp_path / "again"}
    with pytest.raises(Killed):
        rbcc.sweep("cournot", COSTS, FEW, **asked, listener=kill)  # type: ignore[arg-type]
    half = rbcc.Sweep.open(tmp_path / "again")
    assert set(half.to_frame()["status"]) == {"running"}
    assert "indicator.price" not in half.to_frame()  # what is not trained to its end has no results
    # Killed between the checkpoints of two runs: one has the newest only as its last but one.
    (half[1].folder / "previous.safetensors").replace(half[1].folder / "checkpoint.safetensors")
    with pytest.raises(rbcc.RunError, match=r"already exists; .*--resume"):
        rbcc.sweep("cournot", COSTS, FEW, **asked)  # type: ignore[arg-type]
    with pytest.raises(rbcc.RunError, match="a sweep with other seeds: --seed 3 --seeds 2, not --seed 3 --seeds 1"):
        rbcc.sweep("cournot", COSTS, FEW, **{**asked, "seeds": 1}, resume=True)  # type: ignore[arg-type]
    done = rbcc.sweep("cournot", COSTS, FEW, **asked, resume=True)  # type: ignore[arg-type]
    assert done.to_frame().equals(swept.to_frame())
    assert [run.to_frame()["iteration"].tolist() for run in done] == [[1, 2, 3, 4, 5, 6]] * 4


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path: Path) -> None:
    said: list[str] = []
    values = {"parameters.choke_price": [1e38, 100]}
    sweep = rbcc.sweep("cournot", values, FEW, seeds=1, out=tmp_path / "sweep", say=said.append)
    frame = sweep.to_frame()
    assert list(frame["status"]) == ["diverged", "finished"]
    diverged, price = map(float, frame["indicator.price"].tolist())
    assert math.isnan(diverged)
    assert 0 < price < 100
    assert sum("point-1/seed-0 is given up: reward.seller is" in words for words in said) == 1
    said.clear()
    rbcc.sweep("cournot", values, FEW, seeds=1, out=tmp_path / "sweep", resume=True, say=said.append)
    assert said == []


@pytest.mark.slow
def test_runs_that_do_not_fit_into_memory_train_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few: list[str] = []

    def check(*_: object) -> None:
        few.append("")
        if len(few) == 1:
            raise TooLarge("phase learn needs more than there is")

    monkeypatch.setattr("rbcc.runtime.training.loop.check_memory", check)
    sweep = rbcc.sweep("cournot", COSTS, FEW, out=tmp_path / "sweep")
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["programs"] == [
        ["point-1/seed-0"],
        ["point-2/seed-0"],
    ]
    assert list(sweep.to_frame()["status"]) == ["finished"] * 2


def test_a_sweep_that_fails_at_once_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise rbcc.RunError("the device is gone")

    monkeypatch.setattr("rbcc.runtime.session.training", broken)
    with pytest.raises(rbcc.RunError, match="the device is gone"):
        rbcc.sweep("cournot", COSTS, FEW, out=tmp_path / "sweep")
    with pytest.raises(rbcc.CompileError):
        rbcc.sweep("cournot", {"parameters.cost": [5, "five"]}, FEW, out=tmp_path / "sweep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "others", "words"),
    [
        ({}, {}, "nothing to sweep"),
        ({"parameters.cost": [5, 5]}, {}, "'parameters.cost' is given 5 twice"),
        ({"parameters.cost": []}, {}, "'parameters.cost' is given no values"),
        ({"parameters.cost": [5, ""]}, {}, "'parameters.cost' is given an empty value"),
        ({"parameters.cost": "10"}, {}, "'parameters.cost' is given a text; expected a list"),
        (COSTS, {"overrides": {"parameters.cost": 5}}, "'parameters.cost' is both swept and set to one value"),
        (COSTS, {"seeds": 0}, "0 seeds from 0 on"),
        (COSTS, {"resume": True, "out": "nowhere"}, "nowhere is not the folder of a sweep"),
        (COSTS, {"devices": 100}, "not 100"),
    ],
)
def test_what_cannot_be_swept_is_said(
    values: dict[str, list[object]],
    others: dict[str, object],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rbcc.RunError, match=words):
        rbcc.sweep("cournot", values, **{"overrides": FEW, **others})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- results ---------------------------------------------------------------------------------------------------------


def test_the_table_has_what_training_ended_with(swept: rbcc.Sweep) -> None:
    frame = swept.to_frame()
    assert list(frame) == [
        "parameters.cost", "seed", "status", "reward.seller", "indicator.quantity", "indicator.price",
    ]  # fmt: skip
    assert list(frame["parameters.cost"]) == [5, 5, 20, 20]
    assert list(frame["indicator.price"]) == [run.metrics[-1]["indicator.price"] for run in swept]
    assert rbcc.table(swept.folder).to_frame().equals(frame)
    one = rbcc.table(swept[2]).to_frame()
    assert one.equals(frame[2:3].drop(columns="parameters.cost").reset_index(drop=True))
    seeds = rbcc.table(swept.folder / "point-2").to_frame()
    assert list(seeds["reward.seller"]) == list(frame["reward.seller"][2:])
    with pytest.raises(rbcc.RunError, match="has 4 runs; take one of them"):
        rbcc.verify(swept.folder)


@pytest.mark.parametrize(("name", "value"), [("seeds", ["a", 1]), ("points", None), ("programs", {})])
def test_a_damaged_sweep_is_told(name: str, value: object, swept: rbcc.Sweep, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({**swept.about, name: value}))
    with pytest.raises(rbcc.RunError, match=f"sweep.json is damaged: its '{name}' is missing or of the wrong type"):
        rbcc.load(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(rbcc.RunError, match=r"sweep.json is damaged"):
        rbcc.table(tmp_path)


def test_the_picture_has_a_line_and_a_band(swept: rbcc.Sweep) -> None:
    axes = swept.plot().axes
    assert [ax.get_title() for ax in axes] == ["quantity", "price", "reward of seller"]
    assert {ax.get_xlabel() for ax in axes} == {"cost"}
    prices = np.reshape([run.metrics[-1]["indicator.price"] for run in swept], (2, 2))
    (line,), (band,) = axes[1].lines, axes[1].collections
    assert np.allclose(np.asarray(line.get_ydata(), float), prices.mean(1))
    assert np.asarray(line.get_xdata()).tolist() == [5, 20]
    (path,) = band.get_paths()
    corners = {(float(x), float(y)) for x, y in np.asarray(path.vertices)}
    assert corners == {(cost, float(y)) for cost, row in zip((5, 20), prices, strict=True) for y in row}


def test_the_picture_of_two_paths_has_a_legend() -> None:
    import pandas as pd

    from rbcc.runtime.reports.plots import sweep_curves

    rows = [("low", 1, 0, "finished", 1.0), ("high", 1, 0, "finished", 2.0), ("low", 2, 0, "finished", 3.0)]
    rows.append(("high", 2, 0, "diverged", math.nan))
    frame = pd.DataFrame(rows, columns=pd.Index(["verify.x", "parameters.b", "seed", "status", "indicator.y"]))
    (ax,) = sweep_curves(frame, ["verify.x", "parameters.b"]).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b 1", "b 2"]  # type: ignore[union-attr]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["low", "high"]
    assert [np.asarray(line.get_ydata()).tolist() for line in ax.lines] == [[1, 2], [3]]
    with pytest.raises(rbcc.RunError, match="no run of the sweep is finished"):
        sweep_curves(frame.iloc[3:], ["verify.x", "parameters.b"])


@pytest.mark.slow
def test_runs_are_verified(tmp_path: Path) -> None:
    asked = {"verify": True, "out": tmp_path / "sweep"}
    frame = rbcc.sweep("cournot", {"parameters.cost": [5, 20]}, FEW, **asked).to_frame()  # type: ignore[arg-type]
    run = rbcc.Sweep.open(tmp_path / "sweep")[1]
    equilibrium = run.equilibrium
    assert equilibrium is not None
    gains = equilibrium.to_frame().set_index("deviation").loc["individual"]
    row = frame.loc[1]
    assert row["individual"] == equilibrium.verdicts["individual"]
    assert row["team"] == equilibrium.verdicts["team"]
    assert row["gain_of"] == "seller"
    found = [gains["share"], gains["share_lower"], gains["share_upper"]]
    assert [row["gain"], row["gain_lower"], row["gain_upper"]] == found
    assert (run.folder / "equilibrium.html").is_file()
    written = (run.folder / "equilibrium.json").stat().st_mtime_ns
    rbcc.sweep("cournot", {"parameters.cost": [5, 20]}, FEW, resume=True, **asked)  # type: ignore[arg-type]
    assert (run.folder / "equilibrium.json").stat().st_mtime_ns == written


# --- the commands ----------------------------------------------------------------------------------------------------


def test_commands(
    swept: rbcc.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = swept.folder
    assert command(monkeypatch, "table", folder, "--out", tmp_path / "t.tex") == 0
    assert capsys.readouterr().out == f"{swept}\n"
    assert (tmp_path / "t.tex").read_text().startswith("\\begin{tabular}{rrlrrr}\n\\toprule\nparameters.cost & seed")
    assert command(monkeypatch, "plot", folder) == 0
    assert capsys.readouterr().out == f"{folder / 'sweep.png'}\n"
    for name in ("moments", "table"):
        assert command(monkeypatch, name, "nowhere", "--out", tmp_path / "t.doc") == 1
        assert "'t.doc': .doc; write to one of .csv, .tex, .dta" in capsys.readouterr().err
    assert command(monkeypatch, "sweep", "cournot", "--set", "parameters.cost=5") == 1
    assert "nothing to sweep" in capsys.readouterr().err
    sets = [f"--set={path}={value}" for path, value in FEW.items()]
    again = ["sweep", "cournot", *sets, "--set", "parameters.cost=5, 20", "--seeds=2", "--seed=3", "--out", folder]
    assert command(monkeypatch, *again) == 1
    assert "already exists" in capsys.readouterr().err
    assert command(monkeypatch, *again, "--resume") == 0  # all is there: only the table is printed
    assert str(swept) in capsys.readouterr().out
