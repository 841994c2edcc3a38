"""rbcc: a compiler and a runtime for economies.

    import rbcc

    model = rbcc.compile("models/open_rbc.yaml")
    run = rbcc.train("models/open_rbc_small.yaml", out="runs/small")
    equilibrium = rbcc.verify("runs/small")
    solution = rbcc.solve("models/cournot.yaml")

Names are imported when first used: `import rbcc` does not import JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from rbcc.compiler.diagnostics import CompileError as CompileError
    from rbcc.compiler.primitives import primitive as primitive
    from rbcc.runtime.economy.model import Model as Model, compile as compile
    from rbcc.runtime.errors import RunError as RunError
    from rbcc.runtime.reports.dataset import simulate as simulate
    from rbcc.runtime.solve import Solution as Solution, solve as solve
    from rbcc.runtime.storage.run_directory import Run as Run, train as train
    from rbcc.runtime.verification.results import Equilibrium as Equilibrium
    from rbcc.runtime.verification.verify import exploitability as exploitability, verify as verify

_PLACES = {
    "CompileError": "rbcc.compiler.diagnostics",
    "primitive": "rbcc.compiler.primitives",
    "Equilibrium": "rbcc.runtime.verification.results",
    "exploitability": "rbcc.runtime.verification.verify",
    "verify": "rbcc.runtime.verification.verify",
    "Run": "rbcc.runtime.storage.run_directory",
    "RunError": "rbcc.runtime.errors",
    "train": "rbcc.runtime.storage.run_directory",
    "simulate": "rbcc.runtime.reports.dataset",
    "Solution": "rbcc.runtime.solve",
    "solve": "rbcc.runtime.solve",
    "Model": "rbcc.runtime.economy.model",
    "compile": "rbcc.runtime.economy.model",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rbcc' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
