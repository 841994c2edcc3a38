"""Power of verification: how much of a known gain it finds where an exploit is planted.

    rbcc train cournot; python3 experiments/power.py runs/cournot

Verifies each run, and again with each exploit of its model. The known gain is the exact one, or where there is none
that of the trained policy: who follows it leaves the exploit. That policy is in the battery, so a search cannot miss
what it gains; deviators from scratch know nothing of it, and show what the search can do.
"""

import argparse
from collections.abc import Sequence

from rbcc.runtime.parallel.devices import configure
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.verification.best_response.search import CONTINUED, SCRATCH, Candidate
from rbcc.runtime.verification.results import Estimate, Row
from rbcc.runtime.verification.verify import verify


PLANTS = {
    "open_rbc_small": (
        "consumer.random=20%",
        "consumer.hours*50%",
        "firm.set_price=1000",
        "firm[0].set_price=1000",
        "firm.set_wage=44",
        "government.set_income_tax=1",
    ),
    "cournot": ("seller.random=20%", "seller.quantity*50%", "seller.quantity=39", "seller[0].quantity=45"),
    "matching_pennies": ("matcher.side=1", "mismatcher.side=-1"),
    "cournot_interval": ("seller.random=20%", "seller.quantity*50%", "seller.quantity=65%"),
}
WORTH = 0.01
"""Known gains below this share of their scale are none that a search has to find."""


def best(candidates: Sequence[Candidate], source: str, learned: bool) -> float:
    return max(one.gain for one in candidates if one.source == source and bool(one.iterations) == learned)


def known(one: Estimate) -> float:
    return best(one.battery, CONTINUED, learned=False) if one.exact is None else one.exact.gain


def report(run: Run, plant: str, row: Row) -> None:
    one, shares = row.estimate, []
    gain = known(one)
    if one.scale and gain > WORTH * one.scale:
        for found in (one.gain.amount.value, best(one.battery, SCRATCH, learned=True)):
            shares.append(f"{found / gain:.1%}")
        words = f"known gain {gain / one.scale:.2%}, found {shares[0]} of it, from scratch {shares[1]}"
        print(f"{run.manifest['model']} | {plant} | {one.question}: {words}, {row.verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    configure()
    for folder in parser.parse_args().runs:
        run = Run.open(folder)
        name = run.manifest["model"]
        for row in verify(folder).rows:
            share = row.estimate.gain.share
            words = "" if share is None else f" {share.value:.2%},"
            print(f"{name} | nothing | {row.estimate.question}:{words} {row.verdict}", flush=True)
        for plant in PLANTS[name]:
            for row in verify(folder, plants=[plant]).rows:
                report(run, plant, row)


if __name__ == "__main__":
    main()
