"""rbcc: a compiler and a runtime for economies.

    import rbcc

    model = rbcc.compile("cournot")
    run = rbcc.train(model)  # or rbcc.load("runs/cournot")
    found = rbcc.verify(run)
    found.to_frame()
    found.plot()

Each verb takes a path, or what the verb before returned (`rbcc.api`). Names are imported when first used:
`import rbcc` does not import JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from rbcc.api import (
        Check as Check,
        Description as Description,
        check as check,
        compare as compare,
        compile as compile,
        doc as doc,
        exploitability as exploitability,
        irf as irf,
        load as load,
        moments as moments,
        plot as plot,
        simulate as simulate,
        solve as solve,
        sweep as sweep,
        table as table,
        train as train,
        verify as verify,
    )
    from rbcc.compiler.diagnostics import CompileError as CompileError
    from rbcc.compiler.primitives import primitive as primitive
    from rbcc.runtime.economy.model import Model as Model
    from rbcc.runtime.errors import RunError as RunError
    from rbcc.runtime.results.equilibrium import Equilibrium as Equilibrium, Solution as Solution
    from rbcc.runtime.results.run import Run as Run, Runs as Runs
    from rbcc.runtime.results.sweep import RunTable as RunTable, Sweep as Sweep
    from rbcc.runtime.results.tables import (
        Comparison as Comparison,
        Moments as Moments,
        Responses as Responses,
    )

_VERBS = (
    "compile check train sweep verify solve simulate moments irf compare table plot doc load exploitability".split()
)

_PLACES = {
    **dict.fromkeys((*_VERBS, "Check", "Description"), "rbcc.api"),
    "CompileError": "rbcc.compiler.diagnostics",
    "primitive": "rbcc.compiler.primitives",
    "RunError": "rbcc.runtime.errors",
    "Model": "rbcc.runtime.economy.model",
    "Equilibrium": "rbcc.runtime.results.equilibrium",
    "Solution": "rbcc.runtime.results.equilibrium",
    "Run": "rbcc.runtime.results.run",
    "Runs": "rbcc.runtime.results.run",
    "RunTable": "rbcc.runtime.results.sweep",
    "Sweep": "rbcc.runtime.results.sweep",
    "Comparison": "rbcc.runtime.results.tables",
    "Moments": "rbcc.runtime.results.tables",
    "Responses": "rbcc.runtime.results.tables",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rbcc' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
