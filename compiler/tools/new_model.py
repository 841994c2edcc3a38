"""The commented model that a new one starts from."""

import re
from pathlib import Path

from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.semantics.reserved import KEYWORDS
from rbcc.compiler.source import shipped_models
from rbcc.compiler.util.atomic_write import write_file


def write_starter(name: str, path: Path | None) -> Path:
    """Writes a starter model called `name`, by default to NAME.yaml, and returns where.

    Raises CompileError if that is not a name, FileExistsError if there is such a file, FileNotFoundError if no
    folder for it.
    """
    diagnostics = Diagnostics()
    if not name.isidentifier() or name in KEYWORDS:
        word = name in KEYWORDS
        plain = re.sub(r"\W+", "_", Path(name).name).strip("_")
        better = f"my_{name}" if word else plain if plain.isidentifier() else f"_{plain}" if plain else "my_economy"
        diagnostics.error(
            "RB103",
            f"'{name}' cannot be the name of a model" + (": it is a word of the language" if word else ""),
            expected="letters, digits and _, not starting with a digit",
            help=f"write rbcc new {better}" + (f" --out {name}.yaml" if Path(name).name != name else ""),
        )
        diagnostics.raise_if_failed()
    path = path or Path(f"{name}.yaml")
    text = (shipped_models() / "starter.yaml").read_text(encoding="utf-8")
    try:
        path.open("x").close()
    except FileExistsError:
        what = "is a folder" if path.is_dir() else "exists and is left as it is"
        raise FileExistsError(f"{path} {what}; name another file with --out") from None
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to") from None
    try:
        write_file(path, re.sub(r"\bstarter\b", name, text).encode())
    except OSError:
        path.unlink()
        raise
    return path
