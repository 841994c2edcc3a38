"""The generated schedules as the learner needs them: parameters, masks and settings of an iteration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from rbcc.compiler import ir
from rbcc.runtime.actions.spaces import opened
from rbcc.runtime.economy.model import Model
from rbcc.runtime.policies.policy import Masks, Policy


@dataclass(frozen=True)
class Scheduled:
    """What holds in one iteration of a phase; every entry may be traced."""

    parameters: dict[str, jax.Array]
    masks: dict[str, Masks]
    settings: dict[str, dict[str, jax.Array]]


def scheduled(
    model: Model,
    phase: ir.Phase,
    policies: Mapping[str, Policy],
    number: jax.Array,
    given: Mapping[str, jax.Array] | None = None,
) -> Scheduled:
    """The schedule of `phase` at iteration `number`; progress is its share of the phase.

    `given` has parameters in place of the model's, in the layout of the generated module; what is annealed goes before.
    """
    progress, given = number / phase.iterations, given or {}
    found: dict[str, Any] = getattr(model.module, f"schedule_{phase.name}")(number, progress, given)
    starts = {window.action: window.value for window in phase.windows}
    offered = {name: opened(model.spaces[name], starts[name], share) for name, share in found["openings"].items()}
    masks = {agent: policy.allowed(offered) for agent, policy in policies.items()}
    return Scheduled({**given, **found["parameters"]}, masks, found["learners"])
