"""The package as a whole: what is in it, what it imports, what it knows."""

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import rbcc
from rbcc.compiler.source import shipped_models


ROOT = Path(rbcc.__path__[0])
CHECKOUT = Path(__file__).parent.parent
ECONOMY = r"consumers?|firms?|governments?|wages?|tax(es)?|prices?|households?|workers?"

OPTIONAL = {"rbcc.editor.server": "pygls", "rbcc.adapters.pettingzoo": "pettingzoo"}
"""Modules that need what is not always installed."""

needs_pygls = pytest.mark.skipif(find_spec("pygls") is None, reason="needs pygls")
in_checkout = pytest.mark.skipif(not (CHECKOUT / "pyproject.toml").is_file(), reason="needs a checkout")


def modules() -> list[str]:
    outside = ("rbcc.tests", "rbcc.bench", "rbcc.typings", "rbcc.docs", "rbcc.experiments", "rbcc.build", "rbcc.runs")
    found = pkgutil.walk_packages(rbcc.__path__, "rbcc.")
    outside += tuple(module for module, needed in OPTIONAL.items() if not find_spec(needed))
    return [module.name for module in found if not module.name.startswith(outside)]


def test_all_modules_can_be_imported() -> None:
    names = modules()
    assert len(names) > 40
    for name in names:
        importlib.import_module(name)


def test_no_source_file_is_loaded_under_two_names() -> None:
    for name in modules():
        importlib.import_module(name)
    seen: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not Path(file).is_relative_to(ROOT) or Path(file).name == "__init__.py" or "tests" in file:
            continue
        if "site-packages" not in Path(file).relative_to(ROOT).parts:  # of a virtual environment in the checkout
            assert seen.setdefault(file, name) == name


@in_checkout
def test_every_package_is_listed() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"rbcc", "rbcc.models"}
    for top in ("adapters", "compiler", "editor", "runtime"):
        folders |= {
            "rbcc." + ".".join(path.parent.relative_to(CHECKOUT).parts)
            for path in (CHECKOUT / top).rglob("*.py")
            if "__pycache__" not in path.parts
        }
    assert set(listed) == folders


@pytest.mark.parametrize("package", ["adapters", "compiler", "editor", "runtime"])
def test_nothing_knows_an_economy(package: str) -> None:
    for path in (ROOT / package).rglob("*"):
        if path.suffix in (".py", ".lark"):
            found = re.search(rf"\b({ECONOMY})\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
            assert found is None, f"{path.name}: {found and found.group()}"


@pytest.mark.parametrize(
    "code",
    [
        "import rbcc; rbcc.primitive; rbcc.CompileError",
        "from rbcc.compiler.driver import compile_spec; compile_spec('open_rbc').python()",
        "from rbcc.compiler.tools.check_report import report_on; report_on('open_rbc').text()",
        pytest.param("import rbcc.editor.server", marks=needs_pygls),
        "import rbcc.cli, rbcc.compiler.tools.new_model",
        *(
            f"from rbcc.cli import app; app({command.split()}, standalone_mode=False)"
            for command in (
                "compile cournot --emit latex", "diff cournot cournot", "doc cournot", "schema", "models",
                f"fmt --check {shipped_models() / 'cournot.yaml'}",
            )
        ),
    ],
)  # fmt: skip
def test_front_end_does_not_import_jax(code: str) -> None:
    check = f"import sys; {code}; assert not [m for m in sys.modules if m.split('.')[0] in ('jax', 'numpy')]"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_public_names() -> None:
    verbs = "check solve moments irf compare plot doc load exploitability Runs Moments Responses Comparison".split()
    for name in ("compile", "train", "verify", "simulate", "primitive", "CompileError", "RunError", "Model", *verbs):
        assert getattr(rbcc, name) is not None
        assert name in dir(rbcc)
    with pytest.raises(AttributeError, match="has no attribute 'complie'"):
        rbcc.complie  # noqa: B018
