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
    from rbcc.runtime.equilibrium import exploitability as exploitability, verify as verify
    from rbcc.runtime.errors import RunError as RunError
    from rbcc.runtime.model import Model as Model, compile as compile
    from rbcc.runtime.run import Run as Run, train as train
    from rbcc.runtime.simulate import simulate as simulate
    from rbcc.runtime.solve import Solution as Solution, solve as solve
    from rbcc.runtime.verdict import Equilibrium as Equilibrium

_PLACES = {
    "CompileError": "rbcc.compiler.diagnostics",
    "primitive": "rbcc.compiler.primitives",
    "Equilibrium": "rbcc.runtime.verdict",
    "exploitability": "rbcc.runtime.equilibrium",
    "verify": "rbcc.runtime.equilibrium",
    "Run": "rbcc.runtime.run",
    "RunError": "rbcc.runtime.errors",
    "train": "rbcc.runtime.run",
    "simulate": "rbcc.runtime.simulate",
    "Solution": "rbcc.runtime.solve",
    "solve": "rbcc.runtime.solve",
    "Model": "rbcc.runtime.model",
    "compile": "rbcc.runtime.model",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rbcc' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
