"""The step of a model as JAX and XLA see it."""

from typing import Literal

import jax

from rbcc.compiler.driver import Compiled
from rbcc.runtime.economy.model import Model


def lowered(compiled: Compiled, stage: Literal["jaxpr", "hlo"]) -> str:
    """The jaxpr or the optimised HLO of one step of one economy."""
    model = Model(compiled)
    key = jax.random.key(0)
    state = model.reset(key)
    actions = model.sample(state, key)
    if stage == "jaxpr":
        return str(jax.make_jaxpr(model.step)(state, actions, key))
    return jax.jit(model.step).lower(state, actions, key).compile().as_text() or ""
