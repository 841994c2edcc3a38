"""Trains every model with a known answer, compares what is found with it, and writes docs/known_answers.md.

    python3 experiments/known_answers.py [--seeds 0 1 2] [--only fish_war ...]

Models are trained as `rbcc train MODEL --seed SEED` does, with the schedule of their spec and nothing else. Results are
kept in known_answers.json: the page shows them all, those of `--only` some models anew.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.optimize import minimize_scalar

import rbcc
from rbcc.runtime.parallel.devices import configure
from rbcc.runtime.reports.moments import moments


RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "known_answers.md"
Found = dict[str, tuple[float, ...]]
"""What was asked: (exact, found), and for moments the standard error of the simulation."""


@dataclass(frozen=True)
class Case:
    model: str
    source: str
    measure: Callable[[Path], Found]


def indicator(run: Path, name: str, steps: int | None = None) -> np.ndarray:
    """The mean of an indicator over episodes in each step."""
    return rbcc.simulate(run, episodes=256, steps=steps)[f"indicator.{name}"].values.mean(axis=0)


def payoff(run: Path, reward: str, discount: float) -> float:
    """The mean discounted payoff of an agent."""
    values = rbcc.simulate(run, episodes=256)[reward].values
    values = values.reshape(*values.shape[:2], -1).mean(axis=2)
    return float((values * discount ** np.arange(values.shape[1])).sum(axis=1).mean())


def brock_mirman(run: Path) -> Found:
    exact = [(1 - 0.36 * 0.96) / (1 - (0.36 * 0.96) ** (10 - t)) for t in range(10)]
    shares = indicator(run, "share")
    found = {f"share consumed in period {t}": (exact[t], float(shares[t])) for t in range(10)}
    return found | {"welfare": (-8.600616, payoff(run, "planner.reward", 0.96))}


def brock_mirman_shocks(run: Path) -> Found:
    table = moments(run, steps=10000, burn=100, paths=16)
    # Moments of log output: small deviations from the mean, in which a level and its logarithm differ by a factor.
    output, share = table.loc["output"], table.loc["share"]
    return {
        "share consumed": (1 - 0.36 * 0.96, share["mean"], share["mean_error"]),
        "sd of log output": (0.034316, output["sd"] / output["mean"], output["sd_error"] / output["mean"]),
        "first autocorrelation of output": (0.976155, output["rho_1"], output["rho_1_error"]),
    }


def consumption_saving(run: Path) -> Found:
    path = indicator(run, "consumption")
    return {
        "consumption at first": (2.238302, float(path[0])),
        "consumption at last": (2.029750, float(path[-1])),
        "utility": (4.275537, payoff(run, "household.reward", 0.95)),
    }


def fish_war(run: Path) -> Found:
    return {"share caught by each": (0.395551, float(indicator(run, "share").mean()))}


def cournot(run: Path) -> Found:
    return {
        "quantity": (30.0, float(indicator(run, "quantity")[0])),
        "profit": (900.0, payoff(run, "seller.reward", 1)),
    }


def price_takers(run: Path) -> Found:
    return {
        "quantity": (22.5, float(indicator(run, "quantity")[0])),
        "profit": (506.25, payoff(run, "seller.reward", 1)),
    }


def bertrand(run: Path) -> Found:
    return {"price": (4.0, float(indicator(run, "price")[0])), "profit": (18.0, payoff(run, "seller.reward", 1))}


def best_tax(wages: np.ndarray, elasticity: float) -> float:
    """The tax with the highest mean logarithm of utility; workers know that their own tax comes back in part."""
    back = 1 / len(wages)

    def loss(tax: float) -> float:
        labour = ((1 - tax + tax * back) * wages) ** elasticity
        income = wages * labour
        consumption = (1 - tax) * income + tax * income.mean()
        return -float(np.log(consumption - labour ** (1 + 1 / elasticity) / (1 + 1 / elasticity)).mean())

    return float(minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}).x)


def leader_tax(run: Path) -> Found:
    return {"tax": (best_tax(np.resize([1.0, 2.0], 100), 0.5), float(indicator(run, "tax")[0]))}


def late_tax(run: Path) -> Found:
    return {"tax": (1.0, float(indicator(run, "tax")[0]))}


def markov_perfect(choke: float, slope: float, adjustment: float, discount: float) -> np.ndarray:
    """The plan of a seller of `dynamic_duopoly` in the Markov-perfect equilibrium: a constant, and slopes in its own
    quantity and the other's. Each value is quadratic in (1, own quantity, other's); both policies are iterated at once.
    """
    value, policy = np.zeros((3, 3)), np.array([0.0, 1.0, 0.0])
    profit = np.array([[0, choke / 2, 0], [choke / 2, -slope - adjustment, -slope / 2], [0, -slope / 2, 0]])
    for _ in range(10_000):
        rival = policy[[0, 2, 1]]
        following = np.array([[1, 0, 0], [0, 0, 0], rival])  # without what is planned, which moves the second
        moved = discount * value[1] @ following + np.array([0, adjustment, 0])
        planned = moved / (adjustment - discount * value[1, 1])
        ahead = following + np.outer([0, 1, 0], planned)
        cost = np.outer(planned, planned) * adjustment - adjustment * (np.outer(planned, [0, 1, 0]) * 2)
        value = profit - (cost + cost.T) / 2 + discount * ahead.T @ value @ ahead
        policy = planned
    return policy


def dynamic_duopoly(run: Path) -> Found:
    constant, own, other = markov_perfect(10, 2, 12, 0.96)
    quantity = constant / (1 - own - other)
    episodes = rbcc.simulate(run, episodes=256)
    before, plans = (episodes[name].values[:, :4].reshape(-1, 2) for name in ("seller.quantity", "seller.plan"))
    known = np.concatenate([np.insert(before, 0, 1, axis=1), np.insert(before[:, ::-1], 0, 1, axis=1)])
    slopes = np.linalg.lstsq(known, np.concatenate([plans[:, 0], plans[:, 1]]), rcond=None)[0]
    return {
        "quantity in the long run": (quantity, float(indicator(run, "quantity", 200)[-50:].mean())),
        "price in the long run": (10 - 4 * quantity, float(indicator(run, "price", 200)[-50:].mean())),
        "slope in the own quantity": (own, float(slopes[1])),
        "slope in the other's": (other, float(slopes[2])),
    }


def hansen(run: Path) -> Found:
    table = moments(run, relative_to="output", hp=1600, steps=1500, burn=100, paths=100)
    exact = {"output": 1.804, "consumption": 0.524, "investment": 5.763, "hours": 1.373}
    found = {name: table.loc[name] for name in exact}
    return {f"sd of {name}, %": (exact[name], row["sd"], row["sd_error"]) for name, row in found.items()}


def rbc_textbook(run: Path) -> Found:
    table = moments(run, steps=1500, burn=100, paths=100)
    exact = {"output": 1.0806825, "consumption": 0.8035924, "hours": 0.2917563, "capital": 11.0836044}
    found = {name: table.loc[name] for name in exact}
    return {f"{name}, steady state": (exact[name], row["mean"], row["mean_error"]) for name, row in found.items()}


CASES = (
    Case("brock_mirman", "Brock and Mirman (1972)", brock_mirman),
    Case("brock_mirman_shocks", "Brock and Mirman (1972)", brock_mirman_shocks),
    Case("consumption_saving", "backward recursion", consumption_saving),
    Case("fish_war", "Levhari and Mirman (1980)", fish_war),
    Case("dynamic_duopoly", "linear-quadratic recursion; QuantEcon", dynamic_duopoly),
    Case("cournot_interval", "first-order condition", cournot),
    Case("price_takers", "price is marginal cost", price_takers),
    Case("bertrand_linear", "first-order condition", bertrand),
    Case("leader_tax", "numerical maximum", leader_tax),
    Case("late_tax", "all income is shared; the tax is chosen last", late_tax),
    Case("hansen", "Hansen (1985), theoretical, first order", hansen),
    Case("rbc_textbook", "steady state; means of a stochastic economy differ a little", rbc_textbook),
)


def solved(case: Case, seed: int) -> dict[str, Any]:
    """What a training with a seed finds, and how many seconds it takes with its compilation."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / case.model
        began = time.monotonic()
        rbcc.train(case.model, seed=seed, out=run)
        seconds = time.monotonic() - began
        found = {name: [float(value) for value in values] for name, values in case.measure(run).items()}
    print(case.model, seed, f"{seconds:.0f} s", found, flush=True)
    return {"seconds": round(seconds, 1), "found": found}


def rows(case: Case, results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The lines of a model, from results by seed."""
    slowest = max(result["seconds"] for result in results.values())
    for place, name in enumerate(next(iter(results.values()))["found"]):
        values = [result["found"][name] for result in results.values()]
        exact, found = values[0][0], [value[1] for value in values]
        noise = max((error for value in values for error in value[2:]), default=None)
        worst = max(found, key=lambda value: abs(value - exact))
        shown = ", ".join(f"{value:.5g}" for value in found)
        head = (f"`{case.model}`", case.source, f"{slowest:.0f} s") if place == 0 else ("", "", "")
        yield (
            f"| {head[0]} | {name} | {exact:.6g} | {shown} | {worst / exact - 1:+.2%} | "
            f"{'' if noise is None else f'{noise / abs(exact):.2%}'} | {head[1]} | {head[2]} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    parser.add_argument("--only", nargs="*", default=[case.model for case in CASES])
    arguments = parser.parse_args()
    configure()
    known: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in CASES:
        if case.model in arguments.only:
            known[case.model] = {}
            for seed in arguments.seeds:
                known[case.model][str(seed)] = solved(case, seed)
                RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    page = [
        "# Known answers",
        "",
        "Economies whose solution is known, trained from their specs by `rbcc train MODEL --seed SEED`, with no code of their own. Written by",
        "",
        "    python3 experiments/known_answers.py",
        "",
        f"JAX {jax.__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores. One value for each of the seeds 100 to 104. The time is that of the slowest",
        "training, with its compilation, beside other work; the error that of the seed that is furthest off; of moments the largest standard error of the simulation is beside it.",
        "",
        "| model | what | exact | found | error | simulation | source | time |",
        "|---|---|---|---|---|---|---|---|",
        *(line for case in CASES if case.model in known for line in rows(case, known[case.model])),
    ]
    PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
