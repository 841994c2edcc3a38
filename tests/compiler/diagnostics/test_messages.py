"""What schema and semantics say stands in diagnostics/messages, and all that stands there is said."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import rbcc
from rbcc.compiler.diagnostics import messages


COMPILER = Path(rbcc.__path__[0]) / "compiler"


def called_names(folder: str) -> Iterator[tuple[str, str]]:
    for path in sorted((COMPILER / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                yield f"{path.name}:{node.lineno}", name


def test_schema_and_semantics_do_not_build_findings() -> None:
    assert not [
        place
        for folder in ("schema", "semantics")
        for place, name in called_names(folder)
        if name in ("error", "warning", "Diagnostic")
    ]


def test_every_message_is_used() -> None:
    used = {
        getattr(node, "attr", getattr(node, "id", ""))
        for path in COMPILER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load)
    }
    modules = (f"{messages.__name__}.{module.name}" for module in pkgutil.iter_modules(messages.__path__))
    themes = [importlib.import_module(module) for module in modules]
    said = {
        name
        for theme in themes
        for name, value in vars(theme).items()
        if not name.startswith("_") and (getattr(value, "__module__", "") == theme.__name__ or isinstance(value, str))
    }
    assert said <= used
