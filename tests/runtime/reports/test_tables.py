"""Tables as files: LaTeX, Stata, CSV; what cannot be written is said before any work."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from rbcc.runtime.errors import RunError
from rbcc.runtime.reports.tables import check_table, write_table


FRAME = pd.DataFrame(
    {
        "parameters.a_b": [0.1, 2.0],
        "seed": [0, 1],
        "verdict": ["NOT REFUTED", ""],
        "reward.x": [-1234567.0, float("nan")],
        "gain": [0.000012345, float("inf")],
        "95% & #{up}": ["a_1", "$ ~^\\"],
    }
)

TEX = r"""\begin{tabular}{rrlrrl}
\toprule
parameters.a\_b & seed & verdict & reward.x & gain & 95\% \& \#\{up\} \\
\midrule
0.1 & 0 & NOT REFUTED & $-1235000$ & $1.234 \times 10^{-5}$ & a\_1 \\
2 & 1 &  & -- & $\infty$ & \$ \textasciitilde{}\textasciicircum{}\textbackslash{} \\
\bottomrule
\end{tabular}
"""


def test_latex(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "t.tex")
    assert (tmp_path / "t.tex").read_text() == TEX


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "t.tex")
    document = r"\documentclass{article}\usepackage{booktabs,textcomp}\begin{document}\input{t.tex}\end{document}"
    (tmp_path / "d.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"], cwd=tmp_path, check=False
    )
    assert done.returncode == 0


def test_stata(tmp_path: Path) -> None:
    frame = FRAME.assign(**{"a" * 40: 1, "a" * 39 + "b": 2, "2nd": [True, False], "gain": [0.5, 1.0]})
    write_table(frame, tmp_path / "t.dta")
    found = pd.read_stata(tmp_path / "t.dta")
    assert isinstance(found, pd.DataFrame)
    assert list(found) == [
        "parameters_a_b", "seed", "verdict", "reward_x", "gain", "_95______up_",
        "a" * 32, "a" * 30 + "_2", "_2nd",
    ]  # fmt: skip
    assert list(found["parameters_a_b"]) == [0.1, 2.0]
    assert list(found["verdict"]) == ["NOT REFUTED", ""]
    with pd.io.stata.StataReader(tmp_path / "t.dta") as reader:
        assert reader.variable_labels()["parameters_a_b"] == "parameters.a_b"


def test_csv(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv", keep_default_na=True)["gain"].tolist() == FRAME["gain"].tolist()


@pytest.mark.parametrize(("ending", "package"), [(".parquet", "pyarrow"), (".xlsx", "openpyxl")])
def test_a_package_that_is_missing_is_named(ending: str, package: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{ending}"
    if find_spec(package):
        write_table(FRAME, path)
        assert path.stat().st_size
        return
    with pytest.raises(RunError, match=rf"^{ending} needs {package}: python3 -m pip install {package}; or write .csv$"):
        check_table(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["table", "table.doc"])
def test_an_ending_that_is_unknown(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"write to one of .csv, .tex, .dta, .parquet, .xlsx"):
        check_table(tmp_path / name)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        check_table(tmp_path / "file" / "t.csv")
