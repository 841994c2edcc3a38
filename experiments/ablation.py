"""What each part of the learner is worth: open_rbc_small trained without it, and how much single agents then gain.

    python3 experiments/ablation.py whole scale ties --seeds 100 101 --out ablation.jsonl

A line of JSON for each part and seed: seconds of training, verdict for individual deviations, and for each type the
mean gain and that of the agent who gains most, in % of the payoff above doing nothing. Lines that are there already are
not computed again, so a run that was stopped goes on.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from rbcc.runtime.economy.model import compile
from rbcc.runtime.learners import ppo
from rbcc.runtime.parallel import devices
from rbcc.runtime.policies import policy
from rbcc.runtime.policies.policy import Policy
from rbcc.runtime.rollout import explorers
from rbcc.runtime.training.loop import profile, training
from rbcc.runtime.verification.verify import exploitability


MODEL = "open_rbc_small"
# What is left out, by overrides of the spec.
BY_SPEC: dict[str, dict[str, object]] = {
    "whole": {},
    "explorers": {"training.default.explorers": 1, "training.default.sharpness": 1},
    "sharpness": {"training.default.sharpness": 1, "training.phases.explore.sharpness": 1},
    "gradual": {"training.phases.explore.sharpness": 6},
    "curriculum": {"training.phases.explore.curriculum": "finished"},
    "polish": {"training.phases.polish": None, "training.phases.explore.iterations": 3500},
}


def whole_batch(estimate: Any, share: Any) -> Any:
    """Advantages standardised over all steps together."""
    mean = share.mean(jnp.mean(estimate))
    return (estimate - mean) / (jnp.sqrt(share.mean(jnp.mean((estimate - mean) ** 2))) + 1e-8)


def everywhere(learners: Any, economies: int, total: int) -> dict[str, np.ndarray]:
    """All types explore in all economies."""
    return {learner.agent: np.arange(economies) for learner in learners}


def nameless(self: Policy, parameters: Any, sight: Any, call: Any = Policy.__call__) -> Any:
    """A network that is told the same number for all agents."""
    return call(self, parameters, replace(sight, member=jnp.zeros_like(sight.member)))


# What is left out, by another piece of code in place of one.
BY_CODE: dict[str, tuple[Any, str, Any]] = {
    "scale": (ppo, "standardised", whole_batch),
    "alone": (explorers, "dealt", everywhere),
    "ties": (policy, "_TIE", 0.0),
    "number": (Policy, "__call__", nameless),
}


@contextmanager
def without(part: str) -> Iterator[None]:
    """The code without a part of the learner."""
    if part not in BY_CODE:
        yield
        return
    place, name, other = BY_CODE[part]
    kept = getattr(place, name)
    setattr(place, name, other)
    try:
        yield
    finally:
        setattr(place, name, kept)


def row(part: str, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Trains without `part` and verifies; ties and numbers are left out of both."""
    model = compile(MODEL, BY_SPEC.get(part, {}))
    placement = devices.place([phase.economies for phase in model.ir.phases])
    with without(part):
        began = time.monotonic()
        *_, (progress,) = training(model, [seed], placement, say=say)
        seconds = time.monotonic() - began
        last = model.ir.phases[progress.phase]
        networks = profile(model, progress.state, last, progress.iteration)
        if part == "number":  # all agents are the first, also for verification, which lets deviators know who they are
            for network in networks.values():
                layer = network["layers"][0]
                if "member" in layer:
                    layer["member"] = jnp.broadcast_to(layer["member"][:, :1], layer["member"].shape)
    kept = without(part) if part == "ties" else without("whole")
    with kept:
        found = exploitability(model, networks, seed=1_000_000 + seed, listener=say)
    gains = {}
    for one in found.rows:
        if "individual" in one.estimate.notions:
            members = [member.gain.share.value for member in one.estimate.members]
            mean = one.estimate.gain.share.value
            gains[one.estimate.agent] = [round(100 * mean, 3), round(100 * max([mean, *members]), 3)]
    return {
        "part": part,
        "seed": seed,
        "seconds": round(seconds),
        "verdict": found.verdicts["individual"].value,
        "alive": all(found.alive.values()),
        "wage": found.indicators["wage"],
        "gains": gains,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*BY_SPEC, *BY_CODE])
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--out", type=Path, default=Path("ablation.jsonl"))
    chosen = parser.parse_args()
    devices.configure()
    lines = chosen.out.read_text().splitlines() if chosen.out.is_file() else []
    done = {(line["part"], line["seed"]) for line in map(json.loads, lines)}
    for seed in chosen.seeds:
        for part in chosen.parts:
            if (part, seed) not in done:
                found = json.dumps(row(part, seed, lambda _: None))
                print(found, flush=True)
                with chosen.out.open("a") as file:
                    file.write(found + "\n")


if __name__ == "__main__":
    main()
