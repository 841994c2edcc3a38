from pathlib import Path

import pytest

from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models
from rbcc.compiler.tools.new_model import write_starter


def test_a_starter_compiles_and_explains_itself(tmp_path: Path) -> None:
    path = write_starter("my_town", tmp_path / "town.yaml")
    assert path == tmp_path / "town.yaml"
    compiled = compile_spec(path)
    assert (compiled.model.name, compiled.warnings) == ("my_town", ())
    text = path.read_text(encoding="utf-8")
    assert "starter" not in text
    assert "rbcc train my_town.yaml" in text
    keys = [line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert {"units", "parameters", "agents", "equations", "accounts", "indicators", "training", "verify"} <= set(keys)
    assert sum("#" in line for line in text.splitlines()) >= 25


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_starter("town", None) == Path("town.yaml")
    assert (tmp_path / "town.yaml").is_file()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "town.yaml"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="exists and is left as it is"):
        write_starter("town", path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("9x", "_9x"), ("a b", "a_b"), ("", "my_economy"), ("../x", "x --out ../x.yaml"), ("x.yaml", "x_yaml"),
        ("if", "my_if"), ("!", "my_economy"),
    ],
)  # fmt: skip
def test_names(name: str, better: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="cannot be the name of a model") as refused:
        write_starter(name, tmp_path / "x.yaml")
    assert f"help: write rbcc new {better}\n" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none to write town\.yaml to"):
        write_starter("town", tmp_path / "none" / "town.yaml")
    with pytest.raises(FileExistsError, match="is a folder; name another file with --out"):
        write_starter("town", tmp_path)


def test_the_starter_ships() -> None:
    assert (shipped_models() / "starter.yaml").is_file()
