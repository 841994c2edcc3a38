"""Cheap random numbers: a JAX key type whose bits are a keyed hash of a counter.

Keys are made and split by Threefry, as JAX's own; only the bulk of the numbers, bits of an array, comes from two rounds
of MurmurHash3's 32-bit finaliser (Appleby), with a word of the key before each. That takes a fifth of Threefry's
operations, vectorises on every device, and depends on nothing but the key and the place in the array, so that a number
is the same on any number of devices. `tests/runtime/test_prng.py` tests it, and `experiments/noise.py` pipes it into a
battery of tests for random numbers.
"""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extended


# Zero hashes to zero: this keeps the first place of the key of seed 0 from doing so. (The golden ratio's digits.)
_OFFSET = np.uint32(0x9E3779B9)


def key(seed: int | jax.Array) -> jax.Array:
    """The root of all randomness of a run, for `jax.random`."""
    return jax.random.key(seed, impl=_COUNTER)


def bare(key: jax.Array) -> np.ndarray:
    """Keys (...) as numbers, (..., 2) words of 32 bits, to be sent to other hosts; `again` makes them keys."""
    return np.asarray(jax.random.key_data(key))


def again(numbers: jax.Array) -> jax.Array:
    """The keys (...) that consist of `numbers`, (..., 2) words of 32 bits."""
    return jax.random.wrap_key_data(numbers, impl=_COUNTER)


def _mixed(x: jax.Array) -> jax.Array:
    """MurmurHash3's finaliser: a bijection in which every bit of the input moves every bit of the result."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _words(key: jax.Array, count: int) -> jax.Array:
    place = jax.lax.iota(jnp.uint32, count) + _OFFSET
    return _mixed(_mixed(place ^ key[0]) ^ key[1])


def _bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    """Random words of `width` bits. Raises ValueError for arrays of 2^32 numbers or more, which would repeat."""
    size = prod(shape)
    if size * max(1, width // 32) >= 2**32:
        raise ValueError(f"an array of {size} random numbers from one key; split the key")
    if width == 64:
        high, low = _words(key, 2 * size).astype(jnp.uint64).reshape(-1, 2).T
        return ((high << 32) | low).reshape(shape)
    words = _words(key, size).reshape(shape)
    return words if width == 32 else (words >> (32 - width)).astype(f"uint{width}")


def _threefry(key: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(key, impl="threefry2x32")


_COUNTER = extended.define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=lambda key, shape: jax.random.key_data(jax.random.split(_threefry(key), shape)),
    random_bits=_bits,
    fold_in=lambda key, data: jax.random.key_data(jax.random.fold_in(_threefry(key), data)),
    name="rbcc_counter",
    tag="rbcc",
)
