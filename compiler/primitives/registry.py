from rbcc.compiler.primitives import elementary, production, rationing, utility
from rbcc.compiler.primitives.base import Primitive, primitives_in


BUILTIN: dict[str, Primitive] = {
    name: found
    for family in (elementary, utility, production, rationing)
    for name, found in primitives_in(vars(family)).items()
}
