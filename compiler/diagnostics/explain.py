"""`rbcc explain`: a page for every code, with its cause, an example and the fix."""

import difflib
from importlib.resources import files

from rbcc.compiler.diagnostics.codes import CODES, WARNINGS


def explanation(code: str | None) -> str:
    """The page of a code, given as RB202, rb202 or 202; without one, the list of all codes.

    Raises LookupError, with the nearest codes, if there is no such code.
    """
    if code is None:
        width = max(map(len, CODES.values())) + 2
        lines = [f"{c}  {title:<{width}}{'warning' if c in WARNINGS else ''}".rstrip() for c, title in CODES.items()]
        return "\n".join([*lines, "", "`rbcc explain RB202` explains one"])
    name = code.strip().upper()
    name = name if name.startswith("RB") else f"RB{name}"
    if name not in CODES:
        close = difflib.get_close_matches(name, CODES, n=3, cutoff=0.6)
        raise LookupError(f"there is no code '{code}'" + (f"; the nearest are {', '.join(close)}" if close else ""))
    return files("rbcc.compiler.diagnostics").joinpath(f"pages/{name}.md").read_text(encoding="utf-8").rstrip()
