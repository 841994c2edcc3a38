"""The counter-based random numbers: uniform, independent along every axis, and a function of key and place only."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.runtime import prng


NUMBER = 1_000_000
# Two-sided, in standard errors: all comparisons of this file together fail once in about a thousand choices of the
# seed.
WIDTH = 5.0


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.random.uniform(prng.key(seed), shape))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """In standard errors of independent numbers."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1] * math.sqrt(a.size))


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_numbers_are_uniform(seed: int) -> None:
    counts = np.bincount((uniform(seed, (NUMBER,)) * 1000).astype(int), minlength=1000)
    chi_squared = float(np.sum((counts - NUMBER / 1000) ** 2) / (NUMBER / 1000))
    assert abs(chi_squared - 999) < WIDTH * math.sqrt(2 * 999)


def test_every_bit_is_fair_and_no_two_bits_go_together() -> None:
    words = np.asarray(jax.random.bits(prng.key(3), (NUMBER,), jnp.uint32))
    bits = np.array([(words >> k) & 1 for k in range(32)], dtype=float) - 0.5
    assert np.all(np.abs(bits.sum(axis=1)) < WIDTH * math.sqrt(NUMBER / 4))
    products = bits @ bits.T * 4 / math.sqrt(NUMBER)
    assert np.all(np.abs(products - np.diag(np.diag(products))) < WIDTH + 1)  # 496 pairs


@pytest.mark.parametrize("lag", [1, 2, 3, 100, 111, 1024, 65536])
def test_numbers_at_a_distance_are_independent(lag: int) -> None:
    numbers = uniform(4, (NUMBER,))
    assert abs(correlation(numbers[:-lag], numbers[lag:])) < WIDTH


def test_neighbours_fill_the_cube() -> None:
    """Three numbers in a row fall into 20^3 cells equally often: no planes, as linear generators have."""
    cells = (uniform(5, (NUMBER, 3)) * 20).astype(int) @ np.array([400, 20, 1])
    counts = np.bincount(cells, minlength=8000)
    chi_squared = float(np.sum((counts - NUMBER / 8000) ** 2) / (NUMBER / 8000))
    assert abs(chi_squared - 7999) < WIDTH * math.sqrt(2 * 7999)


def test_keys_made_as_in_a_rollout_give_independent_numbers() -> None:
    """Keys of neighbouring seeds, steps and economies, and the same places in their arrays."""
    root = prng.key(0)
    steps = jax.vmap(lambda k: jax.random.fold_in(root, k))(jnp.arange(64))
    keys = jax.vmap(lambda key: jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(64)))(steps)
    numbers = np.asarray(jax.vmap(jax.vmap(lambda key: jax.random.uniform(key, (256,))))(keys))
    for axis in range(3):
        one, other = (np.moveaxis(numbers, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        assert abs(correlation(one, other)) < WIDTH
    assert abs(correlation(uniform(7, (NUMBER,)), uniform(8, (NUMBER,)))) < WIDTH
    # The means over each axis vary as those of independent numbers do.
    for axes in ((0, 1), (0, 2), (1, 2)):
        means = numbers.mean(axis=axes)
        variance = 1 / 12 / (numbers.size / means.size)
        assert abs(np.mean((means - 0.5) ** 2) / variance - 1) < WIDTH * math.sqrt(2 / means.size)


def test_a_change_of_one_bit_of_key_or_place_changes_half_of_the_bits() -> None:
    keys = np.random.default_rng(0).integers(0, 2**32, (200, 2), np.uint32)

    @jax.jit
    @jax.vmap
    def word(key: jax.Array) -> jax.Array:
        return jax.random.bits(prng.again(key), (64,), jnp.uint32)

    before = np.asarray(word(jnp.asarray(keys)))
    for part in range(2):
        for bit in range(32):
            changed = keys.copy()
            changed[:, part] ^= np.uint32(1 << bit)
            flipped = np.unpackbits((before ^ np.asarray(word(jnp.asarray(changed)))).view(np.uint8)).mean()
            assert abs(flipped - 0.5) < 0.02


def test_a_number_depends_on_its_key_and_place_only() -> None:
    keys = jax.random.split(prng.key(9), 6)
    whole = jax.vmap(lambda key: jax.random.bits(key, (7, 5), jnp.uint32))(keys)
    assert np.array_equal(whole[3], jax.random.bits(keys[3], (7, 5), jnp.uint32))
    assert np.array_equal(whole[3], jax.random.bits(prng.again(jnp.asarray(prng.bare(keys[3]))), (7, 5), jnp.uint32))
    assert not np.array_equal(whole[3], whole[4])


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_all_widths_of_words_are_uniform(width: int) -> None:
    with jax.enable_x64(width == 64):
        words = np.asarray(jax.random.bits(prng.key(2), (NUMBER,), f"uint{width}")) >> (width - 8)
    assert words.max() == 255
    words = words.astype(int)
    counts = np.bincount(words, minlength=256)
    assert abs(float(np.sum((counts - NUMBER / 256) ** 2) / (NUMBER / 256)) - 255) < WIDTH * math.sqrt(2 * 255)


def test_more_numbers_than_there_are_places_are_refused() -> None:
    with pytest.raises(ValueError, match="split the key"):
        jax.jit(lambda: jax.random.bits(prng.key(0), (2**16, 2**16), jnp.uint32)).lower()
