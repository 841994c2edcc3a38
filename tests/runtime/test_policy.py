import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rbcc.runtime.model import compile
from rbcc.runtime.policy import Categorical, distributions, entropy, log_probability, sample
from rbcc.runtime.spaces import Head, decode
from rbcc.runtime.train import networks_of


KEY = jax.random.key(5)


def test_sampling_follows_the_probabilities() -> None:
    logits = jax.random.normal(KEY, (2, 5, 1, 1))
    uniform = jax.random.uniform(KEY, (2, 1, 100_000))
    wide = Categorical.of(jnp.broadcast_to(logits, (2, 5, 1, 100_000)), jnp.ones(5, bool))
    index = np.asarray(wide.sample(uniform))
    chances = np.asarray(jax.nn.softmax(logits, axis=1))[..., 0, 0]
    for head in range(2):
        shares = np.bincount(index[head].ravel(), minlength=5) / 100_000
        assert np.allclose(shares, chances[head], atol=0.006)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=12).filter(any), st.floats(0, 1, exclude_max=True, width=32))
def test_masked_choices_are_never_drawn(mask: list[bool], uniform: float) -> None:
    logits = 20 * jax.random.normal(KEY, (1, len(mask), 1, 1))
    found = Categorical.of(logits, jnp.array(mask))
    for u in (uniform, 0.0, float(np.nextafter(np.float32(1), np.float32(0)))):
        assert mask[int(found.sample(jnp.full((1, 1, 1), u))[0, 0, 0])]
    assert np.isfinite(found.entropy()).all()


@pytest.mark.parametrize("choices", [2, 11, 64, 65, 300, 5000])
def test_every_choice_can_be_drawn(choices: int) -> None:
    number = 4 * choices
    found = Categorical.of(jnp.zeros((1, choices, 1, number)), jnp.ones(choices, bool))
    index = np.asarray(found.sample((jnp.arange(number)[None, None] + 0.5) / number))[0, 0]
    assert np.array_equal(np.unique(index), np.arange(choices))
    assert np.isclose(float(found.entropy()[0, 0, 0]), np.log(choices), rtol=1e-5)


def test_log_probability_and_entropy_are_those_of_a_softmax() -> None:
    logits = [jax.random.normal(KEY, (3, 4, 2, 5)), jax.random.normal(KEY, (1, 6, 2, 5))]
    masks = (jnp.ones(4, bool), jnp.array([True, False, True, True, False, True]))
    found = distributions(logits, masks)
    indices = sample(found, jax.random.uniform(KEY, (4, 2, 5)))
    expected, spread = 0.0, 0.0
    for part, mask, index in zip(logits, masks, indices, strict=True):
        chances = jax.nn.log_softmax(jnp.where(mask[None, :, None, None], part, -jnp.inf), axis=1)
        expected += jnp.take_along_axis(chances, index[:, None], axis=1).sum((0, 1))
        spread -= jnp.where(jnp.isfinite(chances), jnp.exp(chances) * chances, 0).sum((0, 1))
    assert np.allclose(log_probability(found, indices), expected, rtol=1e-5)
    assert np.allclose(entropy(found), spread, rtol=1e-5)


def test_shared_inputs_give_the_same_as_repeated_ones() -> None:
    """The product of the shared features, taken once per economy, is that of a plain network on all features."""
    model = compile("open_rbc_small", {"training.default.network": "[8, 7]"})
    policy = networks_of(model)["consumer"]
    network = policy.init(KEY)
    shared, own = jax.random.normal(KEY, (policy.shared, 3)), jax.random.normal(KEY, (policy.own, 3, 20))
    logits, value = policy(network, shared, own)
    x = np.concatenate([np.broadcast_to(shared[:, :, None], (policy.shared, 3, 20)), own]).reshape(-1, 60)
    first, second = network["layers"]
    weight = np.concatenate([first["shared"], first["own"]], axis=1)
    hidden = np.maximum(weight @ x + first["bias"][:, None], 0)
    hidden = np.maximum(second["weight"] @ hidden + second["bias"][:, None], 0)
    output = np.asarray(network["output"]["weight"]) @ hidden
    assert np.allclose(value.ravel(), output[-1], atol=1e-5)
    assert np.allclose(np.concatenate([part.reshape(-1, 60) for part in logits]), output[:-1], atol=1e-5)


def test_untrained_choices_are_nearly_uniform() -> None:
    model = compile("open_rbc_small")
    for policy in networks_of(model).values():
        logits, _ = policy(policy.init(KEY), jnp.ones((policy.shared, 1)), jnp.ones((policy.own, 1, policy.agents)))
        assert all(float(jnp.abs(part).max()) < 0.2 for part in logits)


def test_heads() -> None:
    model = compile("open_rbc_small")
    nets = networks_of(model)
    assert [(h.repeats, h.choices) for h in nets["consumer"].heads] == [(4, 11), (1, 5), (1, 4)]
    assert [(h.repeats, h.choices) for h in nets["firm"].heads] == [(1, 30)]  # one joint choice; invest needs none
    assert nets["consumer"].draws == 6


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
    actions = decode("firm", policy.heads, [jnp.full((1, 2, 4), 5 * 3 + 2)], model.spaces, 2)
    assert np.array_equal(actions["firm.set_price"], np.full((2, 4), 1500))
    assert np.array_equal(actions["firm.set_wage"], np.full((2, 4), 22))
    assert np.allclose(actions["firm.invest"], np.full((2, 4), 0.1))
    consumer = networks_of(model)["consumer"]
    demand = jnp.arange(4)[:, None, None] + jnp.zeros((4, 2, 20), int)
    actions = decode("consumer", consumer.heads, [demand, demand[:1], demand[:1]], model.spaces, 2)
    written = model.written({"consumer.demand": actions["consumer.demand"][0]})["consumer.demand"]
    assert np.array_equal(written, np.broadcast_to(np.arange(4), (20, 4)))


def test_windows_open_from_a_value_to_everything() -> None:
    model = compile("open_rbc_small")
    head = Head((model.spaces["firm.set_wage"],))
    shown = [
        head.allowed({"firm.set_wage": (22.0, jnp.float32(share))}).astype(int).tolist()
        for share in (0, 0.4, 0.5, 0.9, 1)
    ]
    assert shown == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    both = Head((model.spaces["firm.set_price"], model.spaces["firm.set_wage"]))
    mask = both.allowed({"firm.set_price": (1000.0, jnp.float32(0))}).reshape(6, 5)
    assert np.array_equal(np.asarray(mask).any(1), [0, 0, 1, 0, 0, 0])
