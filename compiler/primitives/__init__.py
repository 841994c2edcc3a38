"""The functions of the language. A model's own are declared in the same way, in files named by its `use` key."""

from rbcc.compiler.primitives.base import (
    Domain as Domain,
    Primitive as Primitive,
    PrimitiveError as PrimitiveError,
    UnitRule as UnitRule,
    load_file as load_file,
    primitive as primitive,
    primitives_in as primitives_in,
    said as said,
)
from rbcc.compiler.primitives.registry import BUILTIN as BUILTIN
