"""All pairs compared, or gathers and segment sums: which is faster for how many members?

    python3 bench/pairs.py [--agents 1000] [--economies 128]

Sets the threshold of `compiler/optimize/lookups.py`.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import jax


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report

from rbcc.compiler.backends.jax.module import emit
from rbcc.compiler.optimize.constant_folding import fold
from rbcc.compiler.optimize.lookups import pairs
from rbcc.runtime.economy.model import compile


SPEC = """
rbcc: 1
model: matching
horizon: 10
discount: 1
agents:
  worker:
    index: i
    count: {agents}
    state: {{wealth: 1}}
    actions:
      hours: {{choices: [0, 1, 2]}}
      place: {{choose: shop}}
    reward: wealth'[i]
  shop:
    index: j
    count: {members}
    state: {{pay: 1}}
equations:
  all: |
    labour[j]  = sum(i where place[i] == j, hours[i])
    pay'[j]    = 1 / (1 + labour[j])
    wealth'[i] = wealth[i] + pay[place[i]] * hours[i]
"""


def program(agents: int, members: int, economies: int, threshold: int, folder: Path) -> Any:
    """Ten steps of all economies, compiled with the given threshold."""
    path = folder / "matching.yaml"
    path.write_text(SPEC.format(agents=agents, members=members))
    model = compile(path)
    generated: dict[str, Any] = {}
    exec(emit(pairs(fold(model.ir), threshold)), generated)
    key = jax.random.key(0)
    state = jax.vmap(model.module.reset)(jax.random.split(key, economies))
    keys = jax.random.split(key, (model.ir.horizon, economies))
    actions = jax.vmap(jax.vmap(lambda k: model.stored(model.sample({}, k))))(keys)

    @jax.jit
    def run(state: Any, actions: Any) -> Any:
        def advance(state: Any, choice: Any) -> Any:
            following, result = jax.vmap(lambda s, a: generated["step"](s, a, key))(state, choice)
            return following, result["rewards"]["worker"].sum()

        return jax.lax.scan(advance, state, actions)

    return lambda: run(state, actions)


def main() -> None:
    options = arguments(__doc__, agents=1000, economies=128).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for members in (2, 4, 7, 10, 20, 40, 80, 320):
            programs = {
                name: program(options.agents, members, options.economies, threshold, Path(folder))
                for name, threshold in (("pairs", 10**9), ("gather", 0))
            }
            times = interleaved(programs, 10)
            rows.append(Row(f"all pairs of {members} members", "ms", times["pairs"], "gather", times["gather"]))
    report(rows, options.out)


if __name__ == "__main__":
    main()
