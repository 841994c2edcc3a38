"""The language server's answers, in-process: findings after a change, hover, definition, completion, renaming.

python3 bench/editor.py [--repeats 50]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, report

from rbcc.compiler.diagnostics import Source
from rbcc.compiler.source import shipped_models
from rbcc.editor.complete import complete
from rbcc.editor.diagnostics import findings
from rbcc.editor.navigate import definition, hover
from rbcc.editor.rename import rename
from rbcc.editor.workspace import Workspace


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - began)


def measure(repeats: int = 50) -> list[Row]:
    """All rows of this benchmark."""
    path = shipped_models() / "open_rbc.yaml"
    text = path.read_text(encoding="utf-8")
    workspace = Workspace([path.parent])
    workspace.write(path, text)
    places = [k for k in range(text.index("equations:"), len(text)) if text[k].isalnum()]
    found: dict[str, list[float]] = {
        what: [] for what in ("findings after a change", "hover", "definition", "completion")
    }
    for repeat in range(repeats):
        changed = text.replace("export_quantity: {value: 100", f"export_quantity: {{value: {repeat + 1}")
        workspace.write(path, changed)
        found["findings after a change"].append(milliseconds(lambda: list(findings(workspace.analysis(path)))))
        analysis, offset = workspace.analysis(path), places[repeat % len(places)]
        found["hover"].append(milliseconds(lambda a=analysis, o=offset: hover(a, o)))
        found["definition"].append(milliseconds(lambda a=analysis, o=offset: definition(a, o, workspace)))
        source = Source(str(path), changed)
        found["completion"].append(milliseconds(lambda a=analysis, o=offset, s=source: complete(s, o, a, workspace)))
    workspace.write(path, text)
    offset = text.index("inventory[j]")
    renaming = (milliseconds(lambda: rename(workspace, path, offset, "stock")) for _ in range(5))
    found["renaming in all models that ship"] = list(renaming)
    return [Row(f"open_rbc: {what}", "ms", tuple(values)) for what, values in found.items()]


def main() -> None:
    options = arguments(__doc__, repeats=50).parse_args()
    report(measure(options.repeats), options.out)


if __name__ == "__main__":
    main()
