"""Networks are applied to blocks of agents, so that what they need in between fits a cache, or memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rbcc.runtime.policies.policy import Policy, Sight


# How many numbers a network may have in between for one block: on a CPU as many as fit the second-level cache of a core
# (`bench/blocks.py`), elsewhere as many as fit memory with room to spare: 0.8 GB, by estimate.
NUMBERS = {"cpu": 400_000, "gpu": 200_000_000}


def block_size(policy: Policy) -> int:
    """How many agents of a type to work on at a time."""
    each = sum(policy.network) + sum(stack.choices * stack.repeats for stack in policy.stacks)
    return max(1, NUMBERS.get(jax.default_backend(), NUMBERS["gpu"]) // each)


def counts(pairs: int, agents: int, size: int) -> tuple[int, int]:
    """Into how many blocks of at most `size` a plane of `pairs` by `agents` is cut, down and across.

    Blocks hold whole pairs, of an economy and a step, if one of them fits a block, else agents of one pair.
    """
    return -(-pairs // max(1, size // agents)), -(-agents // size)


def in_blocks(act: Callable[[Sight, jax.Array], Any], sight: Sight, uniform: jax.Array, policy: Policy) -> Any:
    """`act` applied to what all agents see and their random numbers, block by block if there are many.

    The results, arrays that end in (economies, agents), are put together again. Where blocks do not come out even the
    last one overlaps the one before: what is in both is computed twice.
    """
    economies, agents = sight.plane
    size = block_size(policy)
    if economies * agents <= size:
        return act(sight, uniform)
    rows, columns = counts(economies, agents, size)
    part = -(-economies // rows), -(-agents // columns)

    def one(number: jax.Array, results: Any) -> Any:
        row = jnp.minimum(number // columns * part[0], economies - part[0])
        column = jnp.minimum(number % columns * part[1], agents - part[1])

        def cut(x: jax.Array) -> jax.Array:
            before = x.shape[:-2]
            return jax.lax.dynamic_slice(x, (*(0,) * len(before), row, column), (*before, *part))

        shared = jax.lax.dynamic_slice_in_dim(sight.shared, row, part[0], axis=1)
        fixed = jax.lax.dynamic_slice_in_dim(sight.fixed, column, part[1], axis=1) if sight.fixed is not None else None
        member = sight.member
        member = cut(member) if member.ndim == 2 else jax.lax.dynamic_slice_in_dim(member, column, part[1])
        allowed = {name: cut(x) for name, x in sight.allowed.items()}
        found = act(Sight(shared, cut(sight.own), fixed, member, allowed), cut(uniform))
        return jax.tree.map(
            lambda whole, x: jax.lax.dynamic_update_slice(whole, x, (*(0,) * (x.ndim - 2), row, column)), results, found
        )

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(act, sight, uniform))
    return jax.lax.fori_loop(0, rows * columns, one, nothing)
