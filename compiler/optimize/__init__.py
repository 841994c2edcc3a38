"""Small pure functions from IR to IR, one a file, applied in this order before a module is emitted."""

from rbcc.compiler.ir import Model
from rbcc.compiler.optimize.common_subexpressions import share
from rbcc.compiler.optimize.constant_folding import fold
from rbcc.compiler.optimize.finite_derivatives import guards
from rbcc.compiler.optimize.lookups import most_members, pairs


def optimise(model: Model, device: str = "cpu") -> Model:
    """The model as it is computed fastest on a kind of device, named as JAX does."""
    return share(guards(pairs(fold(model), most_members(device))))
