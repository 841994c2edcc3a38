"""Small pure functions from IR to IR, one a file, applied in this order before a module is emitted."""

from rbcc.compiler.ir import Model
from rbcc.compiler.passes.fold import fold
from rbcc.compiler.passes.guards import guards
from rbcc.compiler.passes.pairs import most_members, pairs
from rbcc.compiler.passes.share import share


def optimise(model: Model, device: str = "cpu") -> Model:
    """The model as it is computed fastest on a kind of device, named as JAX does."""
    return share(guards(pairs(fold(model), most_members(device))))
