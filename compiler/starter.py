"""The commented model that a new one starts from."""

import re
from pathlib import Path

from rbcc.compiler.declare import KEYWORDS
from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.source import shipped_models


def write_starter(name: str, path: Path | None) -> Path:
    """Writes a starter model called `name`, by default to NAME.yaml, and returns where.

    Raises CompileError if that is no name, FileExistsError if there is such a file.
    """
    diagnostics = Diagnostics()
    if not name.isidentifier() or name in KEYWORDS:
        diagnostics.error("RB103", f"'{name}' cannot be the name of a model", expected="letters, digits and _")
        diagnostics.raise_if_failed()
    path = path or Path(f"{name}.yaml")
    text = (shipped_models() / "starter.yaml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(re.sub(r"\bstarter\b", name, text))
    except FileExistsError:
        raise FileExistsError(f"{path} exists and is left as it is; name another file with --out") from None
    return path
