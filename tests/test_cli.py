import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def rbcc(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbcc.cli", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "COLUMNS": "140"},
    )  # fmt: skip


QUICK = ["--set=training.phases.learn.iterations=400", "--set=verify.iterations=40", "--set=verify.episodes=512"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which cournot was trained, with the words that were printed."""
    folder = tmp_path_factory.mktemp("work")
    result = rbcc("train", "cournot", *QUICK, folder=folder)
    assert result.returncode == 0, result.stderr
    (folder / "printed.txt").write_text(result.stdout)
    return folder


def test_help() -> None:
    result = rbcc("--help")
    assert result.returncode == 0
    for command in "compile check new fmt diff doc schema train verify solve simulate plot models explain lsp".split():
        assert command in result.stdout


def test_no_arguments_shows_help() -> None:
    assert "Usage" in rbcc().stdout + rbcc().stderr


def test_models_lists_what_ships() -> None:
    lines = rbcc("models").stdout.splitlines()
    assert any(line.startswith("open_rbc_small ") for line in lines)
    assert len(lines) >= 8


def test_what_is_taken_as_given_is_told(tmp_path: Path) -> None:
    assert "  takes    price as given" in rbcc("compile", "price_takers", folder=tmp_path).stdout
    assert "Takes as given\n\n`price`:" in rbcc("doc", "price_takers", folder=tmp_path).stdout


def test_verify_settings_can_be_set_without_a_verify_table(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("extends: cournot\nmodel: m\nverify: null\n")
    assert rbcc("compile", "m.yaml", "--set", "verify.iterations=7", folder=tmp_path).returncode == 0
    assert (
        "did you mean 'iterations'?" in rbcc("compile", "m.yaml", "--set", "verify.iteration=7", folder=tmp_path).stderr
    )


def test_summary_fits_one_screen(tmp_path: Path) -> None:
    result = rbcc("compile", "open_rbc", "--out", str(tmp_path / "economy.py"))
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) <= 40
    for words in ("100 consumer[i]", "chooses  demand for each firm", "36 equations", "no warnings", "economy.py"):
        assert words in result.stdout
    assert "def step" in (tmp_path / "economy.py").read_text()


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("python", "def step(state, actions, key, given=None):"),
        ("ir", "equations\n"),
        ("json", '"is": "Model"'),
        ("latex", r"\begin{document}"),
        ("jaxpr", "lambda"),
        ("hlo", "HloModule"),
    ],
)
def test_emit(stage: str, words: str) -> None:
    result = rbcc("compile", "cournot", "--emit", stage)
    assert result.returncode == 0
    assert words in result.stdout


def test_emit_into_a_file(tmp_path: Path) -> None:
    printed = rbcc("compile", "cournot", "--emit", "ir").stdout
    assert rbcc("compile", "cournot", "--emit", "ir", "--out", "a.ir", folder=tmp_path).stdout == ""
    assert (tmp_path / "a.ir").read_text() == printed


def test_set_changes_the_model() -> None:
    assert "7 consumer[i]" in rbcc("compile", "open_rbc", "--set", "agents.consumer.count=7").stdout
    result = rbcc("compile", "open_rbc", "--set", "agents.consumer.cuont=7")
    assert (result.returncode, result.stdout) == (1, "")
    assert "did you mean 'count'?" in result.stderr
    assert "is not PATH=VALUE" in rbcc("compile", "open_rbc", "--set", "nonsense").stderr
    assert "is not text" in rbcc("compile", "cournot", "--set", "title=\udcff").stderr


def test_null_removes() -> None:
    assert "training polish" in rbcc("compile", "open_rbc").stdout
    assert "training polish" not in rbcc("compile", "open_rbc", "--set", "training.phases.polish=null").stdout


def test_newlines_in_a_spec_cannot_forge_output(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text('extends: cournot\n"bad\\nerror[RB999]: forged": 1\n')
    result = rbcc("compile", "m.yaml", folder=tmp_path)
    assert result.returncode == 1
    assert not any(line.startswith("error[RB999]") for line in result.stderr.splitlines())


def test_a_spec_cannot_move_the_cursor_of_a_terminal(tmp_path: Path) -> None:
    """Escape sequences and marks that turn letters around are shown as such, wherever words of a spec are."""
    rude = r'"\e[31mred\e]0;title\a\u202E"'
    (tmp_path / "m.yaml").write_text(
        f"extends: cournot\nmodel: m\ntitle: {rude}\nidentities: {{{rude}: price == price}}\n", encoding="utf-8"
    )
    shown = [
        rbcc("compile", "m.yaml", folder=tmp_path).stdout,
        rbcc("check", "m.yaml", "--fast", folder=tmp_path).stdout,
        rbcc("diff", "cournot", "m.yaml", folder=tmp_path).stdout,
    ]
    for text in shown:
        assert r"\x1b[31mred\x1b]0;title\x07\u202e" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_warnings_go_to_stderr_and_do_not_stop(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("extends: cournot\nmodel: m\nparameters: {spare: 1}\n")
    result = rbcc("compile", "m.yaml", folder=tmp_path)
    assert result.returncode == 0
    assert "warning[RB207]: parameter 'spare' is never used" in result.stderr
    assert "1 warning; module written to" in result.stdout


def test_new_fmt_and_doc(tmp_path: Path) -> None:
    result = rbcc("new", "town", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "town.yaml\nnext: rbcc compile town.yaml\n")
    assert rbcc("compile", "town.yaml", "--out", "town.py", folder=tmp_path).returncode == 0
    again = rbcc("new", "town", folder=tmp_path)
    assert again.returncode == 1
    assert again.stderr == "error: town.yaml exists and is left as it is; name another file with --out\n"
    result = rbcc("fmt", "--check", "town.yaml", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "town.yaml is formatted already\n")

    neat = (tmp_path / "town.yaml").read_text()
    (tmp_path / "town.yaml").write_text(neat.replace("horizon: 10 ", "horizon:   10 "))
    result = rbcc("fmt", "--check", "town.yaml", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "town.yaml would change\n")
    result = rbcc("fmt", "town.yaml", "none.yaml", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "formatted town.yaml\n")
    assert result.stderr.startswith("error[RB001]: none.yaml cannot be read")
    assert (tmp_path / "town.yaml").read_text() == neat

    assert rbcc("doc", "town.yaml", folder=tmp_path).stdout.startswith("# Bakers and eaters\n")
    assert rbcc("doc", "town.yaml", "--set", "horizon=7", "--out", "town.html", folder=tmp_path).stdout == ""
    assert "an episode has 7 steps" in (tmp_path / "town.html").read_text()
    assert "does not end with .md, .html, .tex" in rbcc("doc", "town.yaml", "--out", "town.pdf", folder=tmp_path).stderr


def test_diff_has_the_exit_codes_of_diff() -> None:
    same = rbcc("diff", "cournot", "cournot")
    assert (same.returncode, same.stdout, same.stderr) == (0, "no difference\n", "")
    other = rbcc("diff", "open_rbc", "open_rbc_small")
    assert (other.returncode, other.stderr) == (1, "")
    assert "~ consumer.count: 100 -> 20" in other.stdout
    assert json.loads(rbcc("diff", "cournot", "cournot", "--json").stdout) == []
    wrong = rbcc("diff", "cournot", "nothing")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no file nothing" in wrong.stderr


def test_schema() -> None:
    assert "$schema" in json.loads(rbcc("schema").stdout)


def test_missing_file() -> None:
    result = rbcc("compile", "opne_rbc")
    assert result.returncode == 1
    assert result.stderr == (
        "error[RB001]: there is no file opne_rbc\n  help: did you mean open_rbc?\n\n"
        "1 error; `rbcc explain RB001` says more\n"
    )


def test_explain() -> None:
    page = rbcc("explain", "202")
    assert (page.returncode, page.stderr) == (0, "")
    assert page.stdout.startswith("# RB202: undefined name\n")
    assert page.stdout == rbcc("explain", "rb202").stdout
    assert len(rbcc("explain").stdout.splitlines()) > 40
    unknown = rbcc("explain", "RB2022")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "there is no code 'RB2022'; the nearest are RB202" in unknown.stderr


def test_training_tells_what_it_does(folder: Path) -> None:
    printed = (folder / "printed.txt").read_text()
    assert "compiling the program of phase learn" in printed
    assert "iteration 400 of 400" in printed
    assert "reward of seller" in printed
    assert "next: rbcc verify runs/cournot" in printed


def test_verify_prints_a_table_and_writes_json(folder: Path) -> None:
    result = rbcc("verify", "runs/cournot", folder=folder)
    assert result.returncode == 0, result.stderr
    first, second, *rest = result.stdout.splitlines()
    assert first.startswith("no agent gains more than 1% alone (Nash):")
    assert second.startswith("no type gains more than 1% acting as one (team):")
    assert any(line.startswith("seller  individual") for line in rest)
    assert "page: runs/cournot/equilibrium.html" in rest[-1]
    assert "power" not in result.stdout
    assert max(map(len, rest[:5])) <= 110
    details = rbcc("verify", "runs/cournot", "--details", folder=folder).stdout
    for words in ("alive: quantity > 1: yes", "power", "page: runs/cournot/equilibrium.html"):
        assert words in details
    assert json.loads((folder / "runs/cournot/equilibrium.json").read_text())["settings"]["test_episodes"] == 512


def test_simulate_and_plot(folder: Path) -> None:
    assert "episode 5" in rbcc("simulate", "runs/cournot", "--episodes=5", folder=folder).stdout
    assert rbcc("plot", "runs/cournot", folder=folder).stdout.split() == [
        "runs/cournot/training.png",
        "runs/cournot/episode.png",
    ]


def test_check_proves_and_tests(tmp_path: Path) -> None:
    result = rbcc("check", "open_rbc_small")
    assert (result.returncode, result.stderr) == (0, "")
    for words in ("budget guard ", "account money: proved", "192 random episodes", "seed 0: all hold"):
        assert words in result.stdout
    (tmp_path / "m.yaml").write_text("extends: cournot\nmodel: m\ninvariants: [price > 0]\nparameters: {spare: 1}\n")
    result = rbcc("check", "m.yaml", folder=tmp_path)
    assert result.returncode == 1
    assert "parameter 'spare' is never used" in result.stderr
    assert "invariant price > 0: tested only" in result.stdout
    assert "invariant 'price > 0' does not hold at step 0" in result.stdout
    assert "with the choices all seller.quantity = " in result.stdout


def test_check_as_data(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("extends: cournot\nmodel: m\ninvariants: [price > 0]\n")
    result = rbcc("check", "m.yaml", "--json", "--seed", "2", folder=tmp_path)
    data = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, "")
    assert data["tests"]["seed"] == 2
    assert data["tests"]["failures"][0]["message"] == "invariant 'price > 0' does not hold at step 0"
    assert data["claims"][0]["proved"] is False
    result = rbcc("check", "m.yaml", "--json", "--fast", folder=tmp_path)
    assert (result.returncode, json.loads(result.stdout)["tests"]) == (0, None)
    result = rbcc("check", "m.yaml", "--json", "--set", "parameters.cost=costs", folder=tmp_path)
    assert result.returncode == 1
    assert json.loads(result.stdout)["diagnostics"][0]["code"] == "RB202"


@pytest.mark.parametrize("command", ["verify", "simulate", "plot"])
def test_no_run(command: str, tmp_path: Path) -> None:
    result = rbcc(command, "nothing", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: nothing is not a run directory")


def test_a_run_that_is_not_finished_is_not_verified(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    command = ["train", "cournot", "--set=training.phases.learn.iterations=100000", f"--out={out}"]
    # Behind a shell the interrupt is ignored, and what is ignored here would be ignored there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([sys.executable, "-m", "rbcc.cli", *command], stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command with --resume goes on from here" in printed
    assert (out / "checkpoint.safetensors").exists()
    result = rbcc("verify", str(out))
    assert result.returncode == 1
    assert (
        "is interrupted; finish it with: rbcc train cournot --set training.phases.learn.iterations=100000 --seed 0"
        in (result.stderr)
    )
