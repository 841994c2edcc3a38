"""How large the blocks should be that networks are applied to: sets `NUMBERS` of `runtime/rollout/microbatch.py`.

    python3 bench/blocks.py [--economies 128] [--network 128,128] [--repeats 3]

Training iterations of open_rbc with blocks of fewer or more numbers in between.
"""

import sys
from functools import partial
from pathlib import Path

import jax


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, interleaved, report
from training import Ours, like_plain

from rbcc.runtime.parallel.devices import configure
from rbcc.runtime.rollout import microbatch


SHARES = (1 / 16, 1 / 4, 1, 4, 16, 64)


def measure(economies: int = 128, network: str = "128,128", repeats: int = 3) -> list[Row]:
    kind, shipped = jax.default_backend(), microbatch.NUMBERS[jax.default_backend()]
    programs = {}
    for share in SHARES:
        microbatch.NUMBERS[kind] = round(share * shipped)
        ours = Ours(like_plain(economies, network))
        program = partial(ours.whole(), ours.state, 0)
        jax.block_until_ready(program())  # compiled with this size
        programs[f"{share:g}"] = program
    microbatch.NUMBERS[kind] = shipped
    times = interleaved(programs, repeats)
    rest = [(f"{share:g}", times[f"{share:g}"]) for share in SHARES if share != 1]
    return [
        Row(f"iteration with blocks of {shipped:,} numbers", "ms", times["1"], f"{share} times as many", values)
        for share, values in rest
    ]


def main() -> None:
    parser = arguments(__doc__, economies=128, repeats=3)
    parser.add_argument("--network", default="128,128")
    options = parser.parse_args()
    configure()
    report(measure(options.economies, options.network, options.repeats), options.out)


if __name__ == "__main__":
    main()
