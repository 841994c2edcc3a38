"""Verification against exact answers: the gains it finds, how often its bounds hold, what choosing the best does.

    python3 experiments/estimator.py {accuracy,coverage,selection}

Matching pennies and Cournot's duopoly are trained once; all profiles are planted in these runs.
"""

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime import prng
from rbcc.runtime.parallel.devices import SINGLE, configure
from rbcc.runtime.session import train
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import networks_of
from rbcc.runtime.verification.best_response.exact import Game
from rbcc.runtime.verification.best_response.learned import Arena, Base, Deviation, Notion
from rbcc.runtime.verification.best_response.search import Candidate
from rbcc.runtime.verification.perturbations import read_plant
from rbcc.runtime.verification.results import Estimate, Gain, judge
from rbcc.runtime.verification.verify import Sample, verify


SETTINGS = {"verify.economies": 1024, "verify.iterations": 400, "verify.episodes": 262144}
ALIKE = 0.01
"""Gains below this share of their scale are not gains, of which a relative error could be told."""
REPEATS, EPISODES, SELECTION, TARGET = 1000, 4096, 1024, 0.01


def mixture(agent: str, heads: float) -> Iterator[str]:
    """Plants by which a player shows heads with a probability."""
    yield f"{agent}.side={1 if heads >= 0.5 else -1}"
    if 0 < heads < 1:
        yield f"{agent}.random={2 * min(heads, 1 - heads):g}"


def sellers(*quantities: float, random: float = 0) -> list[str]:
    """Plants by which both sellers sell as much, or each its own quantity; and at random in a share of cases."""
    who = ["seller"] if len(quantities) == 1 else [f"seller[{number}]" for number in range(len(quantities))]
    found = [f"{name}.quantity={quantity:g}" for name, quantity in zip(who, quantities, strict=True)]
    return [*found, f"seller.random={random:g}"] if random else found


COINS = [(x, q) for x in (0.1, 0.3, 0.6, 0.8) for q in (0.1, 0.3, 0.6, 0.8)] + [
    (1, 0.7),
    (0.25, 1),
    (1, 0.5),
    (0.9, 0.05),
]
PROFILES = {
    "matching_pennies": [[*mixture("matcher", x), *mixture("mismatcher", q)] for x, q in COINS],
    "cournot": [
        *(sellers(quantity) for quantity in (6, 12, 15, 18, 25.5, 27, 33, 36, 39, 45)),
        *(sellers(*pair) for pair in ((45, 30), (15, 30), (36, 18), (9, 39), (24, 33))),
        *(
            sellers(quantity, random=share)
            for quantity, share in ((30, 0.2), (22.5, 0.2), (15, 0.5), (36, 0.4), (0, 1))
        ),
    ],
}


# --- are gains found? ----------------------------------------------------------------------------------------------


def accuracy(runs: Mapping[str, Run]) -> None:
    """The gain that verify estimates, of each profile and notion, against the exact one."""
    errors, nothing = [], []
    for name, profiles in PROFILES.items():
        for number, plants in enumerate(profiles):
            for answer in verify(runs[name].folder, SETTINGS, plants=plants, seed=number).rows:
                one, gain = answer.estimate, answer.estimate.gain.amount.value
                assert one.exact is not None
                row = f"{name} {' '.join(plants)}: {one.agent} {one.notions[0]}"
                if one.exact.gain <= ALIKE * one.scale:
                    nothing.append((gain / one.scale, row))
                    continue
                errors.append((gain / one.exact.gain - 1, row))
                print(f"{row}: {gain:.5g}, exactly {one.exact.gain:.5g}, {errors[-1][0]:+.2%}", flush=True)
    within = sum(abs(error) <= 0.05 for error, _ in errors)
    print(f"\n{within} of {len(errors)} gains are within 5 %; the worst:")
    for error, row in sorted(errors, key=lambda pair: -abs(pair[0]))[:5]:
        print(f"  {error:+.2%} {row}")
    print(f"where there is no gain to be found, the largest estimate of {len(nothing)} is {max(nothing)[0]:.2%}")


# --- do bounds hold? -----------------------------------------------------------------------------------------------


class Question:
    """Fixed deviations from a planted profile: their exact gain, and samples of it on any seed."""

    def __init__(self, run: Run, plants: Sequence[str], agent: str, notion: Notion, episodes: int):
        self.agent, self.notion = agent, notion
        planned, state = tuple(read_plant(run.model, text) for text in plants), run.state()
        policies, self.networks = networks_of(run.model), run.profile()
        self.arena = Arena(run.model, policies, self.networks, state.multipliers, planned, episodes, SINGLE)
        self.deviation, self.base = Deviation(self.arena, agent, notion), Base(self.arena)

    def exact(self, network: Any) -> float:
        return float(Game(self.arena).gains(self.agent, self.notion, network).mean())

    def sample(self, key: jax.Array, network: Any, base: Mapping[str, np.ndarray]) -> np.ndarray:
        """Gains, (episodes,), as verify takes them, over `base`, the payoffs without the deviation."""
        payoffs, members = self.deviation.evaluate(self.networks, self.deviation.first(network), key, 1)
        return Sample(self.agent, self.notion, payoffs, base, members).change

    def undisturbed(self, key: jax.Array) -> Mapping[str, np.ndarray]:
        return self.base(self.networks, {}, key, 1).payoffs


def tilted(network: Any, choice: int, amount: float) -> Any:
    """A network that does what `network` does, but makes one choice with odds that are exp(amount) times as high."""
    (head,) = network["choices"]
    return {**network, "choices": [{**head, "bias": head["bias"].at[choice].add(amount)}]}


def always(network: Any, choice: int) -> Any:
    return tilted(network, choice, 30.0)


def estimated(agent: str, change: np.ndarray) -> Estimate:
    best, gain = Candidate("fixed", 1, 0.0), Gain.of(change, np.ones(len(change)), ir.Target(TARGET))
    return Estimate(agent, ("individual",), 1.0, 1.0, 1.0, gain, ir.Target(TARGET), best, (best,), False, None)


def coverage(runs: Mapping[str, Run]) -> None:
    """How often one-sided 95 % bounds of a single estimate hold, of fixed deviations with known gains."""
    duopoly, coins = (runs[name] for name in ("cournot", "matching_pennies"))
    seller, matcher = duopoly.state().networks["seller"], coins.state().networks["matcher"]
    mixed = [*mixture("matcher", 0.3), *mixture("mismatcher", 0.6)]
    cases: list[tuple[str, Run, list[str], str, Notion, Any]] = [
        ("as trained, against 20 % at random", duopoly, ["seller.random=0.2"], "seller", "individual", seller),
        ("as trained, against 20 % at random", duopoly, ["seller.random=0.2"], "seller", "team", seller),
        ("22.5, against as trained", duopoly, [], "seller", "team", always(seller, 15)),
        ("30, against as trained", duopoly, [], "seller", "individual", always(seller, 20)),
        ("as trained, against .3 and .6", coins, mixed, "matcher", "individual", matcher),
        ("heads, against .3 and .6", coins, mixed, "matcher", "individual", always(matcher, 1)),
    ]
    for words, run, plants, agent, notion, network in cases:
        for episodes in (SELECTION, EPISODES):
            one = Question(run, plants, agent, notion, episodes)
            exact, held = one.exact(network), np.zeros(2)
            gains, even = [], []
            for repeat in range(REPEATS):
                key = jax.random.fold_in(prng.key(repeat), 0xC0)
                change = one.sample(key, network, one.undisturbed(key))
                (row,) = judge([estimated(agent, change)])
                held += row.bounds.lower <= exact, exact <= row.bounds.upper
                gains.append(change.mean())
                even.append(row.estimate.gain.amount.effective or math.inf)
            lower, upper = held / REPEATS
            mean, error = np.mean(gains), np.std(gains) / math.sqrt(REPEATS)
            print(
                f"{agent} {notion}, {words}, {episodes} episodes: lower {lower:.1%}, upper {upper:.1%}; "
                f"exactly {exact:.5g}, mean estimate {mean:.5g} (standard error {error:.1g}); "
                f"effective episodes {np.median(even):.3g}",
                flush=True,
            )


# --- does choosing the best flatter? -------------------------------------------------------------------------------


def selection(runs: Mapping[str, Run]) -> None:
    """No deviation from equilibrium in matching pennies gains anything: what the best on selection seeds seems to."""
    run, fair = runs["matching_pennies"], ["matcher.random=1", "mismatcher.random=1"]
    network = run.state().networks["matcher"]
    deviators = [tilted(network, 1, amount) for amount in np.linspace(-4, 4, 16)]  # from 2 to 98 % heads
    one = Question(run, fair, "matcher", "individual", SELECTION)
    exact = [one.exact(deviator) for deviator in deviators]
    chosen, tested = [], []
    for repeat in range(REPEATS):
        select, test = jax.random.split(jax.random.fold_in(prng.key(repeat), 0x5E))
        base = one.undisturbed(select)
        means = [float(one.sample(select, deviator, base).mean()) for deviator in deviators]
        chosen.append(max(means))
        tested.append(float(one.sample(test, deviators[int(np.argmax(means))], one.undisturbed(test)).mean()))
    print(f"exact gains of the {len(deviators)} deviators: {min(exact):.1g} to {max(exact):.1g}")
    for words, found in (("selection", chosen), ("test", tested)):
        print(f"on {words} seeds: {np.mean(found):+.5f}, standard error {np.std(found) / math.sqrt(REPEATS):.5f}")


PARTS = {"accuracy": accuracy, "coverage": coverage, "selection": selection}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    configure(1)
    with tempfile.TemporaryDirectory() as folder:
        PARTS[part]({name: train(name, out=Path(folder) / name) for name in PROFILES})


if __name__ == "__main__":
    main()
