"""Who explores: in each economy of a batch a few agents of a type try things out, all others play the profile.

Only explorers are learned from. What they meet is what will be judged, the profile, and not the noise of all who learn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.policy import Policy
from rbcc.runtime.rollout import drawn


PATTERNS = 8
"""Economies are dealt out in so many equal patterns, as far as their number allows: as many devices can share them
without a change of who explores where."""


@dataclass(frozen=True)
class Explorers:
    """The agents of one type who explore: `members`, (n, k), in the economies at the places `economies`, (n,)."""

    economies: np.ndarray
    members: jax.Array


def explorers(
    learners: Sequence[ir.Learner], policies: Mapping[str, Policy], keys: jax.Array, economies: int
) -> dict[str, Explorers]:
    """Draws the explorers of each type, in a device's own `economies`, from a key for each of these."""
    found = {}
    places = dealt(learners, economies)
    for number, learner in enumerate(learners):
        own = places[learner.agent]
        sources = jax.vmap(jax.random.fold_in, (0, None))(keys[own], number)
        agents = policies[learner.agent].agents
        found[learner.agent] = Explorers(own, drawn(sources, agents, count(learner, agents)))
    return found


def count(learner: ir.Learner, agents: int) -> int:
    """How many of a type's `agents` explore in an economy.

    One where a type learns by derivatives: with several it would be that of their joint payoff.
    """
    return 1 if learner.algorithm == "pathwise" else max(1, round(learner.explorers * agents))


def dealt(learners: Sequence[ir.Learner], economies: int) -> dict[str, np.ndarray]:
    """The places of the economies in which each type explores.

    In half of them all types do, so that everyone learns to answer to what others may do. The other half is divided: in
    each of these one type explores alone, so that its agents learn what they cause themselves. Types that learn by
    derivatives explore everywhere, and so do all beside them: derivatives are free of the noise of others.
    """
    everywhere = np.arange(economies)
    if len(learners) == 1 or any(learner.algorithm == "pathwise" for learner in learners):
        return {learner.agent: everywhere for learner in learners}
    patterns = next(
        n for n in (PATTERNS, 4, 2, 1) if economies % n == 0 and economies // n >= 2 * len(learners) or n == 1
    )
    length = economies // patterns
    alone = length // (2 * len(learners))
    within = everywhere % length
    own = {learner.agent: within // alone == number if alone else within < 0 for number, learner in enumerate(learners)}
    shared = within >= alone * len(learners)
    return {agent: np.flatnonzero(shared | mine) for agent, mine in own.items()}
