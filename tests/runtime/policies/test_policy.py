from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rbcc.runtime.actions.spaces import ActionSpace, Head, decode, opened, stacks_of
from rbcc.runtime.economy.model import compile
from rbcc.runtime.policies.policy import Sight, assess, choose
from rbcc.runtime.training.loop import networks_of


KEY = jax.random.key(5)


def test_sampling_follows_the_probabilities() -> None:
    logits = jax.random.normal(KEY, (2, 5, 1))
    uniform = jax.random.uniform(KEY, (2, 100_000))
    index, _ = choose(jnp.broadcast_to(logits, (2, 5, 100_000)), jnp.ones((2, 5), bool), uniform)
    chances = np.asarray(jax.nn.softmax(logits, axis=1))[..., 0]
    for head in range(2):
        shares = np.bincount(np.asarray(index[head]), minlength=5) / 100_000
        assert np.allclose(shares, chances[head], atol=0.006)


_choose, _assess = jax.jit(choose), jax.jit(assess)
MOST = 12


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=MOST).filter(any), st.floats(0, 1, exclude_max=True, width=32))
def test_masked_choices_are_never_drawn(mask: list[bool], uniform: float) -> None:
    mask = [*mask, *[False] * (MOST - len(mask))]
    logits, allowed = 20 * jax.random.normal(KEY, (1, MOST, 1)), jnp.array([mask])
    for u in (uniform, 0.0, float(np.nextafter(np.float32(1), np.float32(0)))):
        index, chance = _choose(logits, allowed, jnp.full((1, 1), u))
        assert mask[int(index[0, 0])]
        found, entropy = _assess(logits, allowed, index)
        assert np.allclose(chance, found, atol=1e-5)
        assert np.isfinite(entropy).all()


@pytest.mark.parametrize("choices", [2, 11, 64, 65, 300, pytest.param(5000, marks=pytest.mark.slow)])
def test_every_choice_can_be_drawn(choices: int) -> None:
    number = 4 * choices
    logits, mask = jnp.zeros((1, choices, number)), jnp.ones((1, choices), bool)
    index, chance = choose(logits, mask, (jnp.arange(number)[None] + 0.5) / number)
    assert np.array_equal(np.unique(index), np.arange(choices))
    assert np.allclose(chance, -np.log(choices), rtol=1e-5)
    assert np.allclose(assess(logits, mask, index)[1], np.log(choices), rtol=1e-5)


def exact(logits: jax.Array, mask: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log probability and entropy by the book."""
    chances = jax.nn.log_softmax(jnp.where(mask[:, :, None], logits, -1e9), axis=1)
    chosen = jnp.take_along_axis(chances, index[:, None], axis=1).sum((0, 1))
    return chosen, -jnp.where(mask[:, :, None], jnp.exp(chances) * chances, 0).sum((0, 1))


def test_log_probability_entropy_and_their_gradients_are_those_of_a_softmax() -> None:
    logits = jax.random.normal(KEY, (3, 6, 10))
    mask = jnp.array([[True] * 6, [True, False, True, True, False, True], [True, True, False, False, False, False]])
    index, chance = choose(logits, mask, jax.random.uniform(KEY, (3, 10)))
    for one, two in zip(assess(logits, mask, index), exact(logits, mask, index), strict=True):
        assert np.allclose(one, two, rtol=1e-5)
    assert np.allclose(chance, exact(logits, mask, index)[0], rtol=1e-5)
    weights = jax.random.normal(jax.random.key(1), (2, 10))

    def mixed(function: Any) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(jnp.stack(function(x, mask, index)) * weights))(logits)

    assert np.allclose(mixed(assess), mixed(exact), atol=1e-6)


@pytest.mark.parametrize("flipped", [False, True])
def test_shared_and_fixed_inputs_give_the_same_as_repeated_ones(flipped: bool) -> None:
    """The products of features that agents or economies have in common are those of a plain network on all features."""
    model = compile("open_rbc_small", {"training.default.network": "[8, 7]"})
    policy = networks_of(model)["consumer"]
    network = policy.init(KEY)
    keys = jax.random.split(KEY, 3)
    shared, own = jax.random.normal(keys[0], (policy.shared, 3)), jax.random.normal(keys[1], (policy.own, 3, 20))
    fixed = jax.random.normal(keys[2], (policy.fixed, 20))
    sight = Sight(shared, own, fixed, jnp.arange(20))
    logits, value = policy(network, sight.flip() if flipped else sight)
    if flipped:
        logits, value = tuple(jnp.swapaxes(x, -1, -2) for x in logits), value.T
    x = np.concatenate(
        [
            np.broadcast_to(shared[:, :, None], (policy.shared, 3, 20)),
            own,
            np.broadcast_to(fixed[:, None], (policy.fixed, 3, 20)),
        ]
    ).reshape(-1, 60)
    first, second = network["layers"]
    weight = np.concatenate([first["shared"], first["own"]], axis=1)
    number = np.broadcast_to(np.asarray(first["member"])[:, None], (8, 3, 20)).reshape(8, 60)
    hidden = np.maximum(weight @ x + number + first["bias"][:, None], 0)
    hidden = np.maximum(second["weight"] @ hidden + second["bias"][:, None], 0)
    assert np.allclose(value.ravel(), (np.asarray(network["value"]["weight"]) @ hidden)[0], atol=1e-5)
    for part, output in zip(logits, network["choices"], strict=True):
        assert np.allclose(part.reshape(-1, 60), np.asarray(output["weight"]) @ hidden, atol=1e-5)
    members = jnp.array([[3], [0], [19]])
    some, _ = policy(network, sight.of(members))
    for e, member in enumerate(members[:, 0]):
        for part, whole in zip(some, policy(network, sight)[0], strict=True):
            assert np.allclose(part[:, :, e, 0], whole[:, :, e, member], atol=1e-5)


def test_a_network_knows_its_agents() -> None:
    model = compile("open_rbc_small", {"training.default.network": "[8]"})
    policy = networks_of(model)["firm"]
    network = policy.init(KEY)
    same = Sight(jnp.ones((policy.shared, 1)), jnp.ones((policy.own + policy.fixed, 1, 4)), None, jnp.arange(4)[None])
    _, value = policy(network, same)
    assert len(np.unique(value)) == 4


def test_untrained_choices_are_nearly_uniform() -> None:
    model = compile("open_rbc_small")
    for policy in networks_of(model).values():
        sight = Sight(
            jnp.ones((policy.shared, 1)),
            jnp.ones((policy.own, 1, policy.agents)),
            jnp.ones((policy.fixed, policy.agents)),
            jnp.arange(policy.agents),
        )
        logits, _ = policy(policy.init(KEY), sight)
        assert all(float(jnp.abs(part).max()) < 0.2 for part in logits)


def test_heads() -> None:
    model = compile("open_rbc_small")
    nets = networks_of(model)
    assert [(h.repeats, h.choices) for h in nets["consumer"].heads] == [(4, 11), (1, 5), (1, 4)]
    assert [(h.repeats, h.choices) for h in nets["firm"].heads] == [(1, 30)]  # one joint choice; invest needs none
    assert nets["consumer"].draws == 6
    (stack,) = nets["consumer"].stacks  # five and four choices are padded to eleven
    assert (stack.repeats, stack.choices, stack.dtype) == (6, 11, np.uint8)
    assert stack.allowed({}).sum(axis=1).tolist() == [11, 11, 11, 11, 5, 4]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(2, 300)), min_size=1, max_size=6))
def test_stacks_hold_all_heads_and_little_else(sizes: list[tuple[int, int]]) -> None:
    heads = [
        Head((ActionSpace(f"a.{k}", "a", tuple(map(float, range(choices))), None, None, repeats, ()),))
        for k, (repeats, choices) in enumerate(sizes)
    ]
    stacks = stacks_of(heads)
    assert sorted(h.actions[0].name for s in stacks for h in s.heads) == [h.actions[0].name for h in heads]
    for stack in stacks:
        exact = sum(head.repeats * head.choices for head in stack.heads)
        assert exact <= stack.repeats * stack.choices <= 1.25 * exact
        assert np.iinfo(stack.dtype).max >= stack.choices - 1


def test_choices_of_heads_apart_and_together() -> None:
    policy = networks_of(compile("open_rbc_small"))["consumer"]
    indices = (jnp.arange(6 * 2 * 20, dtype=jnp.uint8).reshape(6, 2, 20) % 4,)
    parts = policy.apart(indices)
    assert [part.shape[0] for part in parts] == [head.repeats for head in policy.stacked_heads]
    assert np.array_equal(policy.together(parts)[0], indices[0])
    assert policy.together(parts)[0].dtype == np.uint8


def test_joint_choices_split_and_join() -> None:
    model = compile("open_rbc_small")
    (head,) = networks_of(model)["firm"].heads
    index = jnp.arange(30)
    price, wage = head.split(index)
    assert len({(int(p), int(w)) for p, w in zip(price, wage, strict=True)}) == 30
    assert np.array_equal(head.join([price, wage]), index)


def test_decoded_choices_are_physical() -> None:
    model = compile("open_rbc_small")
    policy = networks_of(model)["firm"]
    actions = decode("firm", policy.stacks, [jnp.full((1, 2, 4), 5 * 3 + 2, jnp.uint8)], model.spaces, {}, 2)
    assert np.array_equal(actions["firm.set_price"], np.full((2, 4), 1500))
    assert np.array_equal(actions["firm.set_wage"], np.full((2, 4), 22))
    assert np.allclose(actions["firm.invest"], np.full((2, 4), 0.1))
    consumer = networks_of(model)["consumer"]
    places = [head.actions[0].name for head in consumer.stacked_heads for _ in range(head.repeats)]
    index = jnp.arange(6)[:, None, None] % 4 + jnp.zeros((6, 2, 20), jnp.uint8)
    actions = decode("consumer", consumer.stacks, [index], model.spaces, {}, 2)
    written = model.written({"consumer.demand": actions["consumer.demand"][0]})["consumer.demand"]
    assert np.array_equal(written, np.broadcast_to(np.arange(4), (20, 4)))
    assert np.array_equal(actions["consumer.hours"], np.full((2, 20), 260.0 * (places.index("consumer.hours") % 4)))


@pytest.mark.parametrize(
    "values", [(0, 0.2, 0.4, 0.6), (1, 2, 3, 4), (0, 1.5, 3), (5,), (1, 10, 100), (0.1, 0.2, 0.30000001)]
)
def test_physical_choices_are_those_of_the_spec_to_the_last_bit(values: tuple[float, ...]) -> None:
    space = ActionSpace("a.b", "a", tuple(map(float, values)), None, None, None, ())
    found = jax.jit(space.physical)(jnp.arange(len(values), dtype=jnp.uint8))
    assert np.array_equal(found, np.array(values, np.float32))


def test_windows_open_from_a_value_to_everything() -> None:
    model = compile("open_rbc_small")
    price, wage = model.spaces["firm.set_price"], model.spaces["firm.set_wage"]
    shown = [opened(wage, 22.0, jnp.float32(share)).astype(int).tolist() for share in (0, 0.4, 0.5, 0.9, 1)]
    assert shown == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    mask = Head((price, wage)).allowed({price.name: opened(price, 1000.0, jnp.float32(0))}).reshape(6, 5)
    assert np.array_equal(np.asarray(mask).any(1), [0, 0, 1, 0, 0, 0])
