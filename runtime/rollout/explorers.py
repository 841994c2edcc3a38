"""Who explores: in each economy of a batch a few agents of a type try things out, all others play the profile.

Only explorers are learned from. What they meet is what will be judged, the profile, and not the noise of all who learn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.policies.policy import Policy
from rbcc.runtime.rollout.rollout import drawn


PATTERNS = 8
"""Economies are dealt out in so many equal patterns, as far as their number is a multiple of it: as many devices can
share them without a change of who explores where."""


@dataclass(frozen=True)
class Explorers:
    """The agents of one type who explore: `members`, (n, k), in the economies at the places `economies`, (n,).

    `all` says that they are all agents of all economies.
    """

    economies: np.ndarray
    members: jax.Array
    all: bool


def explorers(
    learners: Sequence[ir.Learner], policies: Mapping[str, Policy], keys: jax.Array, total: int
) -> dict[str, Explorers]:
    """Draws the explorers of each type in a device's own economies, of `total`, from a key for each of them."""
    found = {}
    economies = len(keys)
    places = dealt(learners, economies, total)
    for number, learner in enumerate(learners):
        own, agents = places[learner.agent], policies[learner.agent].agents
        count = number_of_explorers(learner, agents)
        if count == agents:
            members = jnp.broadcast_to(jnp.arange(agents), (len(own), agents))
        else:
            members = drawn(jax.vmap(jax.random.fold_in, (0, None))(keys[own], number), agents, count)
        found[learner.agent] = Explorers(own, members, count == agents and len(own) == economies)
    return found


def number_of_explorers(learner: ir.Learner, agents: int) -> int:
    """How many of a type's `agents` explore in an economy.

    One where a type learns by derivatives: with several it would be that of their joint payoff.
    """
    return 1 if learner.algorithm == "pathwise" else max(1, round(learner.explorers * agents))


def dealt(learners: Sequence[ir.Learner], economies: int, total: int) -> dict[str, np.ndarray]:
    """The places of the economies in which each type explores, of a device's own `economies`, of `total`.

    In half of them all types do, so that everyone learns to answer to what others may do. The other half is divided: in
    each of these one type explores alone, so that its agents learn what they cause themselves. Types all of whose
    agents explore do so everywhere. So do types that learn by derivatives, and all beside them: derivatives are free of
    the noise of others. Where a pattern has fewer than two economies for each type, all explore everywhere, too.
    """
    everywhere = np.arange(economies)
    if len(learners) == 1 or any(learner.algorithm == "pathwise" for learner in learners):
        return {learner.agent: everywhere for learner in learners}
    length = total // math.gcd(PATTERNS, total)
    place = everywhere % (length if economies % length == 0 else economies)
    alone = length // (2 * len(learners))
    found = {}
    for number, learner in enumerate(learners):
        mine = (place >= number * alone) & (place < (number + 1) * alone)
        shared = place >= len(learners) * alone
        found[learner.agent] = everywhere if learner.explorers == 1 else np.flatnonzero(mine | shared)
    return found
