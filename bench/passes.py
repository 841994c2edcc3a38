"""What the compiler's passes do to open_rbc: the generated module with and without each of them.

    python3 bench/passes.py [--economies 128] [--repeats 21]

`fold` and `share` shorten the program that JAX traces and XLA compiles; XLA finds equal expressions of one program
itself, so that the compiled step is as fast without. `pairs` chooses between programs of different speed
(`bench/pairs.py`).
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report

from rbcc.compiler import ir
from rbcc.compiler.backends.jax.module import emit
from rbcc.compiler.optimize.common_subexpressions import share
from rbcc.compiler.optimize.constant_folding import fold
from rbcc.compiler.optimize.lookups import most_members, pairs
from rbcc.runtime.economy.model import Model, compile


MATCHED = partial(pairs, most=most_members("cpu"))
VARIANTS: dict[str, tuple[Callable[[ir.Model], ir.Model], ...]] = {
    "all passes": (fold, MATCHED, share),
    "without fold": (MATCHED, share),
    "without pairs": (fold, share),
    "without share": (fold, MATCHED),
}


def module(model: Model, passes: tuple[Callable[[ir.Model], ir.Model], ...]) -> dict[str, Any]:
    found, namespace = model.ir, dict[str, Any]()
    for step in passes:
        found = step(found)
    exec(emit(found), namespace)
    return namespace


def measure(economies: int = 128, repeats: int = 21) -> list[Row]:
    model, key = compile("open_rbc"), jax.random.key(0)
    keys = jax.random.split(key, (model.ir.horizon, economies))
    actions = jax.jit(jax.vmap(jax.vmap(lambda k: model.stored(model.sample({}, k)))))(keys)
    state = jax.vmap(model.module.reset)(keys[0])
    programs, sizes, starts = {}, {}, {}
    for name, passes in VARIANTS.items():
        own = module(model, passes)

        def one(state: Any, choice: Any, own: Any = own) -> Any:
            following, result = jax.vmap(lambda s, a: own["step"](s, a, key))(state, choice)
            return following, (result["rewards"], jax.vmap(own["observe"])(following))

        def run(state: Any, actions: Any, one: Any = one) -> Any:
            return jax.lax.scan(one, state, actions)

        began = time.perf_counter()
        lowered = jax.jit(run).lower(state, actions)
        starts[name] = ((time.perf_counter() - began) * 1e3,)
        sizes[name] = (float(len(lowered.as_text().splitlines())),)
        programs[name] = partial(lowered.compile(), state, actions)
    times = interleaved(programs, repeats)
    rows = []
    for name in list(VARIANTS)[1:]:
        for what, unit, values in (
            ("lines of the lowered program", "", sizes),
            ("tracing and lowering", "ms", starts),
            (f"10 steps and observations of {economies} economies", "ms", times),
        ):
            rows.append(Row(what, unit, values["all passes"], name, values[name]))
    return rows


def main() -> None:
    parser = arguments(__doc__, economies=128, repeats=21)
    options = parser.parse_args()
    report(measure(options.economies, options.repeats), options.out)


if __name__ == "__main__":
    main()
