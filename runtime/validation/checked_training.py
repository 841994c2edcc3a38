"""Training under watch: the checks of a model in every step that is learned from, and the first that fails."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.runtime.economy.model import Outcome
from rbcc.runtime.rollout.rollout import Watch
from rbcc.runtime.training.schedule import scheduled
from rbcc.runtime.validation.conditions import Checks, record_of


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Caught:
    """A step with all its arrays in which some checks do not hold; nothing of it counts if not `found`."""

    found: jax.Array
    iteration: jax.Array
    economy: jax.Array
    holds: jax.Array
    record: dict[str, jax.Array]


def watching(checks: Checks) -> Watch:
    """What a rollout keeps of each step so that `first_of` finds the first in which a check fails."""
    written = checks.model.written

    def watch(state: Any, actions: Any, following: Any, result: dict[str, Any]) -> Any:
        outcome = Outcome(**{**result, "values": written(result["values"])})
        record = record_of(written(state), written(actions), written(following), outcome)
        return checks.hold(record, outcome), record

    return watch


def first_of(watched: Any, economies: jax.Array, number: jax.Array) -> Caught:
    """The first step of an iteration in which a check fails, of what `watching` kept, (steps, economies, ...)."""
    holds, record = watched
    bad = ~jnp.all(holds, axis=-1)
    place = jnp.argmax(bad)

    def there(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])[place]

    economy = economies[place % len(economies)]
    return Caught(jnp.any(bad), number, economy, there(holds), jax.tree.map(there, record))


def earlier(one: Caught, other: Caught) -> Caught:
    """`one` if something was found then, else `other`."""
    return jax.tree.map(lambda a, b: jnp.where(one.found, a, b), one, other)


def explanation(checks: Checks, phase: ir.Phase, caught: Caught) -> str:
    """What to say of a step that was found; arrays lie on the host."""
    model = checks.model
    parameters = scheduled(model, phase, {}, jnp.int32(caught.iteration)).parameters
    constants = model.written(model.module.constants(parameters))
    first = checks.all[int(np.argmin(caught.holds))]
    failure = checks.failure(first, {**constants, **caught.record}, int(caught.record["time"]))
    place = f"in economy {int(caught.economy)} of iteration {int(caught.iteration) + 1} of phase {phase.name}"
    return f"a check does not hold {place}.\n{failure}"
