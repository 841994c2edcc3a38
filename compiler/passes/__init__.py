"""Small pure functions from IR to IR, one a file, applied in this order before a module is emitted."""

from rbcc.compiler.ir import Model
from rbcc.compiler.passes.fold import fold
from rbcc.compiler.passes.pairs import pairs


PASSES = (fold, pairs)


def optimise(model: Model) -> Model:
    for step in PASSES:
        model = step(model)
    return model
