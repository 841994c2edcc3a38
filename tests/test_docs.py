"""The examples of the README and of the docs are true."""

import os
import re
from pathlib import Path

import jax
import pytest

import rbcc
from rbcc.compiler.accounting import flow_tables
from rbcc.compiler.accounting.tables import markdown_table
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models


CHECKOUT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (CHECKOUT / "README.md").is_file(), reason="needs a checkout")


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (CHECKOUT / file).read_text(encoding="utf-8"), re.DOTALL)


def test_the_model_in_the_readme_is_the_one_that_ships() -> None:
    whole = next(block for block in blocks("README.md", "yaml") if "model: cournot" in block)
    assert (shipped_models() / "cournot.yaml").read_text(encoding="utf-8").endswith(whole)
    assert len(whole.splitlines()) <= 40


@pytest.mark.parametrize("file", ["README.md", "docs/language.md"])
def test_specs_that_extend_another_compile(file: str, write_spec) -> None:
    found = [block for block in blocks(file, "yaml") if "extends:" in block]
    assert found
    for text in found:
        head = "" if text.startswith("rbcc:") else "rbcc: 1\n"
        assert compile_spec(write_spec(head + text)).warnings == ()


@pytest.mark.parametrize("key", ["training", "verify", "accounts"])
def test_settings_in_the_docs_fit_the_model_they_speak_of(key: str, write_spec) -> None:
    (text,) = (block for block in blocks("docs/language.md", "yaml") if block.startswith(f"{key}:"))
    compile_spec(write_spec(f"rbcc: 1\nextends: closed_rbc\nmodel: mine\n{text}"))


def test_defaults_in_the_docs_are_those_of_the_program(write_spec) -> None:
    """A training that sets nothing has the settings of the table."""
    text = (CHECKOUT / "docs/language.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", text, re.MULTILINE))
    stated = {key: table[key] for key in ("network", "learning_rate", "epochs", "gae", "entropy", "gradient_clip")}
    bare, full = (
        compile_spec(write_spec(f"rbcc: 1\nextends: cournot\nmodel: m\ntraining:\n  default: {{{settings}}}\n", name))
        for name, settings in (
            ("a.yaml", "learning_rate: null, entropy: null, reward_scale: null"),
            ("b.yaml", ", ".join(f"{key}: {value}" for key, value in stated.items()) + ", reward_scale: 1"),
        )
    )
    assert bare.model.phases == full.model.phases


def test_python_in_the_readme_runs() -> None:
    (text,) = (block for block in blocks("README.md", "python") if "rbcc.compile" in block)
    names: dict[str, object] = {}
    exec(text, names)
    assert isinstance(names["model"], rbcc.Model)
    assert jax.tree.map(lambda x: x.shape, names["out"].rewards["consumer"]) == (7,)  # type: ignore[attr-defined]


def test_the_primitive_in_the_readme_is_one(write_spec, tmp_path: Path) -> None:
    (text,) = (block for block in blocks("README.md", "python") if "@primitive" in block)
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    spec = "rbcc: 1\nextends: open_rbc\nmodel: m\nuse: [mine.py]\nparameters: {eta: null, utility_shift: null}\n"
    spec += "equations:\n  preferences: utility[i] = sum(j, stone_geary(consumption[i,j], -1))\n"
    assert compile_spec(write_spec(spec)).model.symbol("utility")


def test_flow_tables_are_those_of_the_models() -> None:
    """RBCC_ACCEPT=1 writes them into the page."""
    pages: dict[str, list[str]] = {}
    for path in sorted(shipped_models().glob("*.yaml")):
        model = compile_spec(path).model
        tables = "\n\n".join(markdown_table(model, table) for table in flow_tables(model))
        if tables:
            pages.setdefault(tables, []).append(model.name)
    assert {"closed_rbc", "open_rbc"} <= {name for names in pages.values() for name in names}
    page = CHECKOUT / "docs" / "accounting.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split("<!-- flow tables -->\n")
    _, after = rest.split("<!-- end of flow tables -->\n")
    blocks = "\n".join(f"\n### {', '.join(names)}\n\n{tables}\n" for tables, names in pages.items())
    made = f"{before}<!-- flow tables -->\n{blocks}\n<!-- end of flow tables -->\n{after}"
    if os.environ.get("RBCC_ACCEPT"):
        page.write_text(made, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made


def test_links_lead_somewhere() -> None:
    for file in ("README.md", "docs/language.md", "docs/accounting.md", "docs/verification.md", "bench/README.md"):
        path = CHECKOUT / file
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (path.parent / link).exists(), f"{file}: {link}"
