"""The examples of the README and of the docs are true."""

import json
import os
import re
import tomllib
from pathlib import Path

import jax
import pytest
from test_imports import COMPILER, RUNTIME

import rbcc
from rbcc.cli import app
from rbcc.compiler.diagnostics import WARNINGS
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models
from rbcc.compiler.tools.diff import difference, model_of, show
from rbcc.compiler.tools.doc import document


CHECKOUT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (CHECKOUT / "README.md").is_file(), reason="needs a checkout")


def read(file: str) -> str:
    return (CHECKOUT / file).read_text(encoding="utf-8")


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(file), re.DOTALL)


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


def test_statistics_in_the_docs(write_spec) -> None:
    (text,) = (block for block in blocks("docs/language.md", "yaml") if "gini(" in block)
    compiled = compile_spec(write_spec(f"rbcc: 1\nextends: closed_rbc\nmodel: mine\n{text}"))
    assert (compiled.warnings, compiled.model.symbol("best_payer").type.of) == ((), "firm")


@pytest.mark.parametrize("key", ["training", "verify", "accounts"])
def test_settings_in_the_docs_fit_the_model_they_speak_of(key: str, write_spec) -> None:
    (text,) = (block for block in blocks("docs/language.md", "yaml") if block.startswith(f"{key}:"))
    compile_spec(write_spec(f"rbcc: 1\nextends: closed_rbc\nmodel: mine\n{text}"))


def test_shocks_and_tables_in_the_docs(write_spec, tmp_path: Path) -> None:
    """The examples of random starts and of numbers from files fit the model they speak of."""
    found = blocks("docs/language.md", "yaml")
    shocks = next(block for block in found if "stationary" in block)
    assert compile_spec(write_spec(f"rbcc: 1\nextends: closed_rbc\nmodel: mine\n{shocks}")).model.symbol("trend'")
    (tmp_path / "workers.csv").write_text("name,ability\nAnn,1\nBob,2\nCleo,3\n", encoding="utf-8")
    (tmp_path / "distances.csv").write_text("worker,east,west\nAnn,1,2\nBob,3,4\nCleo,5,6\n", encoding="utf-8")
    tables = write_spec(f"rbcc: 1\nextends: closed_rbc\nmodel: mine\n{next(b for b in found if 'csv: ' in b)}")
    model = compile_spec(tables, {"agents.consumer.count": 3, "agents.firm.count": 2}).model
    given = {d.symbol: d.expression for d in model.parameters}
    assert given["consumer.ability"].values == (1, 2, 3)  # type: ignore[union-attr]
    assert given["consumer.distance"].values == (1, 2, 3, 4, 5, 6)  # type: ignore[union-attr]


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


def test_python_in_its_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks, one after another, as in a notebook."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for text in blocks("docs/python.md", "python"):
        exec(text, names)
    assert isinstance(names["found"], rbcc.Equilibrium)
    assert repr(names["moments"]) in read("docs/python.md")
    assert {"gains.png", "training.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_primitive_in_the_readme_is_one(write_spec, tmp_path: Path) -> None:
    (text,) = (block for block in blocks("README.md", "python") if "@primitive" in block)
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    spec = "rbcc: 1\nextends: open_rbc\nmodel: m\nuse: [mine.py]\nparameters: {eta: null, utility_shift: null}\n"
    spec += "equations:\n  preferences: utility[i] = sum(j, stone_geary(consumption[i,j], -1))\n"
    assert compile_spec(write_spec(spec)).model.symbol("utility")


def test_settings_of_editors_can_be_read() -> None:
    (settings,) = map(json.loads, blocks("docs/editor.md", "json"))
    (languages,) = map(tomllib.loads, blocks("docs/editor.md", "toml"))
    assert settings["glspc.server.commandArguments"] == ["lsp"]
    assert languages["language-server"]["rbcc"] == {"command": "rbcc", "args": ["lsp"]}


def test_flow_tables_are_those_of_the_models() -> None:
    """RBCC_ACCEPT=1 writes them into the page."""
    pages: dict[str, list[str]] = {}
    for path in sorted(shipped_models().glob("*.yaml")):
        text = document(compile_spec(path), ".md")
        tables = text.partition("\n## Accounts\n")[2].partition("\n## ")[0].strip()
        if tables:
            pages.setdefault(tables, []).append(path.stem)
    assert {"closed_rbc", "open_rbc"} <= {name for names in pages.values() for name in names}
    page = CHECKOUT / "docs" / "accounting.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split("<!-- flow tables -->\n")
    _, after = rest.split("<!-- end of flow tables -->\n")
    blocks = "".join(f"\n### {', '.join(names)}\n\n{tables}\n" for tables, names in pages.items())
    made = f"{before}<!-- flow tables -->\n{blocks}\n<!-- end of flow tables -->\n{after}"
    if os.environ.get("RBCC_ACCEPT"):
        page.write_text(made, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made


def test_the_messages_in_the_readme_are_those_of_the_program() -> None:
    text = (CHECKOUT / "tests/specs/bad/several_errors.txt").read_text(encoding="utf-8")
    assert f"```\n{text}```" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_the_warnings_in_the_docs_are_all() -> None:
    text = (CHECKOUT / "docs/language.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (RB\d+) \|", text, re.MULTILINE)) == WARNINGS


def test_links_lead_somewhere() -> None:
    pages = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs").glob("*.md"))
    for file in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", *pages):
        path = CHECKOUT / file
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (path.parent / link).exists(), f"{file}: {link}"


def test_files_named_for_contributors_exist() -> None:
    named = set(re.findall(r"`((?:compiler|runtime|tests|models|experiments)/[\w./]*)`", read("CONTRIBUTING.md")))
    assert named
    assert [path for path in sorted(named) if not (CHECKOUT / path).exists()] == []


def test_the_order_of_stages_in_the_docs_is_the_one_that_is_tested() -> None:
    for side, stages in (("compiler", COMPILER), ("runtime", RUNTIME)):
        (line,) = re.findall(rf"^{side}: +(.*)$", read("docs/architecture.md"), re.MULTILINE)
        assert re.split(" < |, ", line) == stages


def test_lines_of_the_generated_module_in_the_docs() -> None:
    text = compile_spec("closed_rbc").python()
    (block,) = re.findall(r"```python\n(.*?)```", read("docs/architecture.md"), re.DOTALL)
    assert [line for line in block.splitlines() if line.strip() and line.strip() not in text] == []


def test_the_difference_in_the_docs_is_what_the_command_prints() -> None:
    (text,) = re.findall(r"```\n\$ rbcc diff (\w+) (\w+)\n(.*?)```", read("docs/commands.md"), re.DOTALL)
    before, after, printed = text
    assert show(difference(model_of(before), model_of(after))) + "\n" == printed


def test_every_command_is_in_the_readme() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    for name in names:
        assert f"| `rbcc {name}" in read("README.md")
