"""Names for the local variables of the generated module."""

import builtins
import keyword
import unicodedata
from collections import Counter

from rbcc.compiler import ir
from rbcc.compiler.backends.jax.roots import NAMES
from rbcc.compiler.ir.types import Role
from rbcc.compiler.semantics.reserved import MODULE_NAMES


_TAKEN = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | MODULE_NAMES


def seen_name(number: int) -> str:
    """What `observe` calls features that agents of one or several types see alike."""
    return f"seen_{number + 1}"


def residual_name(number: int) -> str:
    """What the function is called by which a system is solved: the number is its place among all."""
    return f"residual_{number + 1}"


def local_names(model: ir.Model) -> dict[str, str]:
    """A Python name for every symbol, no two alike: its own where it can be had, `next_` in front of a next value.

    Symbols whose name starts with @ are those of schedules, indicators and shared parts; no spec can name them.
    """
    taken = {*_TAKEN, *(primitive.name for primitive in model.primitives)}
    taken |= {seen_name(k) for k in range(len(model.observations))}
    systems = ir.systems(model)
    taken |= {residual_name(k) for k in range(len(systems))} | ({"solved", *NAMES.values()} if systems else set())
    bare = [symbol.name.rpartition(".")[2] for symbol in model.symbols]
    owners, names = Counter(bare), dict[str, str]()

    def allocate(symbol: str, wanted: str) -> None:
        wanted = "".join(c if c.isalnum() or c == "_" else "_" for c in unicodedata.normalize("NFKC", wanted))
        found, number = wanted, 2
        while found in taken:
            found, number = (f"{wanted}_" if number == 2 else f"{wanted}_{number}"), number + 1
        taken.add(found)
        names[symbol] = found

    # Next values last: an equation of one's own may have the name that one of them would get.
    for symbol, short in sorted(zip(model.symbols, bare, strict=True), key=lambda pair: pair[1].endswith("'")):
        unique = owners[short] == 1 and symbol.role is not Role.REWARD
        local = short if unique else symbol.name.replace(".", "_")
        allocate(symbol.name, f"next_{local[:-1]}" if local.endswith("'") else local.removeprefix("@"))
    for statement in {s.name: s for phase in model.phases for s in phase.schedules}.values():
        allocate(f"@schedule.{statement.name}", statement.name)
    for statement in model.indicators:
        names[f"@indicator.{statement.name}"] = f"indicators[{statement.name!r}]"
    return names | {"@progress": "progress", "@iteration": "iteration", "time": "time"}
