"""How far an economy is from equilibrium while it still trains: a small search, now and then.

It asks what verify asks of single agents, with a deviator that goes on learning from the policy of explorers for a few
iterations only. So a gain that it misses may be there, and one that it finds may be an error of few episodes: it tells
when training has come far enough, and decides nothing.
"""

from functools import cache, reduce

import jax
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model
from rbcc.runtime.parallel.devices import SINGLE, Placement
from rbcc.runtime.policies.policy import explorers_of, profile_of
from rbcc.runtime.training.loop import TrainState, initial_state, networks_of, profile
from rbcc.runtime.verification.best_response.learned import Arena, Base, Course, Deviation, idle
from rbcc.runtime.verification.best_response.search import CAUTION


ITERATIONS, EPISODES = 50, 512
_TAG = 0x11FE


class LiveExploitability:
    """Measures gains of single agents of `model` between iterations of training, on the devices of `placement`.

    The same state is measured with the same result, whatever was measured before it. The programs are those with which
    verify searches: where compiled programs are kept, it finds them there.
    """

    def __init__(self, model: Model, placement: Placement = SINGLE):
        self.model, self.untrained = model, cache(lambda seed: initial_state(model, seed).networks)
        state, policies = initial_state(model, 0), networks_of(model)
        economies = model.ir.verification.economies
        arena = Arena(model, policies, state.networks, state.multipliers, (), economies, placement)
        self.batches = -(-EPISODES // arena.economies)
        nothing, self.offered = idle(arena)
        self.base, self.nothing = Base(arena), Base(nothing)
        self.deviations = {name: Deviation(arena, name, "individual") for name, p in policies.items() if p.heads}

    def __call__(self, state: TrainState, phase: ir.Phase, iteration: int, seed: int) -> dict[str, float]:
        """The gain of each type, if the training of `seed` stopped after `iteration` of `phase`, as metrics.

        `gain.TYPE` is in units of the payoff of an episode; `gain_share.TYPE` is its share of the payoff above doing
        nothing, or above untrained play if the spec has no `verify.shutdown`, and absent if there is none.
        """
        place = seed, _TAG, self.model.ir.phases.index(phase), iteration
        learning, playing = jax.random.split(reduce(jax.random.fold_in, place[1:], prng.key(place[0])))
        networks = profile(self.model, state, phase, iteration)
        base = self.base.among(networks, state.multipliers)
        payoffs = base(networks, {}, playing, self.batches).payoffs
        if self.model.ir.verification.shutdown:
            compared = self.nothing.among(*base.arena.frozen)(networks, self.offered, playing, self.batches).payoffs
        else:
            compared = base(self.untrained(seed), {}, playing, self.batches).payoffs
        metrics = {}
        for agent, deviation in self.deviations.items():
            amount = self._gain(deviation.among(networks, state.multipliers), payoffs[agent], learning, playing)
            scale = abs(np.mean(payoffs[agent], dtype=float) - np.mean(compared[agent], dtype=float))
            metrics[f"gain.{agent}"] = amount
            if scale > 0:
                metrics[f"gain_share.{agent}"] = float(amount / scale)
        return metrics

    def _gain(self, deviation: Deviation, base: np.ndarray, learning: jax.Array, playing: jax.Array) -> float:
        networks, agent = deviation.arena.networks, deviation.agent
        course = Course(CAUTION * self.model.ir.verification.learning_rate, 0, 0, ITERATIONS)
        explorer = deviation.first(explorers_of(networks[agent]))
        network = deviation.learn(networks, explorer, learning, 0, ITERATIONS, course).network
        # What it has learned is played as what it deviates from is: without the noise of exploration.
        deviator = deviation.first(profile_of(network, networks[agent]["sharpness"]))
        payoffs, members = deviation.evaluate(networks, deviator, playing, self.batches)
        each = np.arange(len(members)), members
        # Who only loses by deviating need not deviate.
        return max(0.0, float(np.mean(payoffs[agent][each] - base[each], dtype=float)))
