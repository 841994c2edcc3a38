"""Random starts, shocks and Markov chains, by known distributions and moments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler import ir
from rbcc.compiler.driver import compile_spec
from rbcc.runtime.economy.model import Model, compile


AGENTS = 20_000
STEPS = 12

HEAD = """
rbcc: 1
model: shocks
horizon: 12
discount: 1
parameters: {{rho: 0.9, sigma: 0.1}}
state:
  clock: 0
{economy}
agents:
  ant:
    index: i
    count: {count}
    state:
      rest: 0
{own}
    actions: {{work: {{choices: [0, 1]}}}}
    observes: [{observes}]
    reward: work[i]
equations:
  all: |
    clock' = clock
    rest'[i] = rest[i]
{equations}
"""


@pytest.fixture
def build(write_spec: Callable[..., Path]) -> Callable[..., Model]:
    def model(own: str = "", economy: str = "", equations: str = "", count: int = AGENTS, observes: str = "") -> Model:
        indented = {
            "own": "\n".join(f"      {line}" for line in own.splitlines()),
            "economy": "\n".join(f"  {line}" for line in economy.splitlines()),
            "equations": "\n".join(f"    {line}" for line in equations.splitlines()),
        }
        return compile(write_spec(HEAD.format(count=count, observes=observes, **indented)))

    return model


def episode(model: Model, key: jax.Array) -> dict[str, Any]:
    """The states of every step, time first."""

    def advance(state: Any, key: jax.Array) -> Any:
        following, _ = model.step(state, model.sample(state, key), key)
        return following, state

    start, steps = jax.random.split(key)
    return jax.lax.scan(advance, model.reset(start), jax.random.split(steps, STEPS))[1]


def episodes(model: Model, number: int, seed: int = 0) -> dict[str, np.ndarray]:
    """(episodes, steps, ...)"""
    keys = jax.random.split(jax.random.key(seed), number)
    return jax.device_get(jax.jit(jax.vmap(lambda key: episode(model, key)))(keys))


def share_is(found: np.ndarray, expected: float) -> bool:
    """Whether a share among independent flags is within five standard errors of what is expected."""
    return bool(abs(found.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / found.size) + 1e-9)


# --- starts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "distribution"),
    [
        ("pareto(3)", lambda x: np.where(x > 1, 1 - np.maximum(x, 1) ** -3.0, 0)),
        ("50 * pareto(1.5)", lambda x: np.where(x > 50, 1 - (np.maximum(x, 50) / 50) ** -1.5, 0)),
        ("exponential()", lambda x: 1 - np.exp(-np.maximum(x, 0))),
        ("2 + 4 * uniform()", lambda x: np.clip((x - 2) / 4, 0, 1)),
        ('"lognormal(0.5, 0.25)"', lambda x: _normal((np.log(np.maximum(x, 1e-9)) - 0.5) / 0.25)),
        ("2000 * exp(0.5 * normal())", lambda x: _normal(np.log(np.maximum(x, 1e-9) / 2000) / 0.5)),
    ],
)
def test_distributions_of_starts(build: Callable[..., Model], start: str, distribution: Any) -> None:
    model = build(f"wealth: {{start: {start}}}", equations="wealth'[i] = wealth[i]")
    drawn = np.asarray(jax.jit(model.reset)(jax.random.key(1))["ant.wealth"])
    assert len(np.unique(drawn)) > 0.99 * AGENTS * (1 - AGENTS / 2**24)
    for value in np.quantile(drawn, [0.01, 0.1, 0.5, 0.9, 0.99]):
        assert share_is(drawn <= value, float(distribution(value)))
    assert distribution(drawn.min()) < 0.002
    assert np.isfinite(drawn).all()


def _normal(x: Any) -> Any:
    return np.asarray(jax.scipy.stats.norm.cdf(np.asarray(x)))


def test_starts_are_drawn_for_every_agent_and_episode(build: Callable[..., Model]) -> None:
    model = build("wealth: {start: normal()}\nluck: {start: bernoulli(0.25)}", "z: {start: normal()}",
                  "wealth'[i] = wealth[i]\nluck'[i] = luck[i]\nz' = z", count=50)  # fmt: skip
    found = episodes(model, 400)
    first, wealth = {name: array[:, 0] for name, array in found.items()}, found["ant.wealth"]
    assert len(np.unique(first["ant.wealth"])) > 0.99 * 400 * 50  # in single precision a few are alike
    assert len(np.unique(first["z"])) > 395
    assert np.array_equal(wealth[:, 0], wealth[:, -1])
    neighbours = np.corrcoef(first["ant.wealth"][:, 0], first["ant.wealth"][:, 1])[0, 1]
    assert abs(neighbours) < 0.2
    assert share_is(first["ant.luck"], 0.25)
    assert first["ant.luck"].dtype == bool
    again = episodes(model, 400)
    assert np.array_equal(again["ant.wealth"], wealth)


def test_typical_size_of_a_drawn_start_is_its_scale(build: Callable[..., Model]) -> None:
    """A draw counts with its standard deviation, or its middle."""
    model = build("wealth: {start: 2000 * exp(0.5 * normal())}\nage: {start: 60 * uniform()}",
                  equations="wealth'[i] = wealth[i]\nage'[i] = age[i]", count=3, observes="wealth, age")  # fmt: skip
    state = model.reset(jax.random.key(0)) | {"ant.wealth": jnp.full(3, 1000.0), "ant.age": jnp.full(3, 30.0)}
    seen = model.observe(state)["ant"]
    assert np.allclose(seen, np.log1p([[1000 / (2000 * np.exp(0.5)), 1.0]] * 3), rtol=1e-6)


# --- autoregressive processes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_autoregressive_shocks(build: Callable[..., Model], own: bool) -> None:
    """Of each agent, or of the economy: variance and autocorrelation are those of the stationary process."""
    start = "{start: sigma / sqrt(1 - rho^2) * normal(), scale: 0.2}"
    if own:
        model = build(f"z: {start}", equations="z'[i] = rho * z[i] + sigma * normal()")
        z = episodes(model, 1)["ant.z"][0].T
    else:
        model = build(economy=f"z: {start}", equations="z' = rho * z + sigma * normal()", count=1)
        z = episodes(model, AGENTS)["z"]
    variance = 0.01 / (1 - 0.81)
    for step in (0, STEPS - 1):
        assert abs(z[:, step].mean()) < 5 * np.sqrt(variance / AGENTS)
        assert abs(z[:, step].var() / variance - 1) < 5 * np.sqrt(2 / AGENTS)
    for lag in (1, 5):
        found = np.corrcoef(z[:, 0], z[:, lag])[0, 1]
        assert abs(found - 0.9**lag) < 5 / np.sqrt(AGENTS)
    residual = z[:, 1:] - 0.9 * z[:, :-1]
    assert abs(residual.std() / 0.1 - 1) < 0.01
    assert abs(np.corrcoef(residual[:, 0], residual[:, 1])[0, 1]) < 5 / np.sqrt(AGENTS)


# --- Markov chains ---------------------------------------------------------------------------------------------------

JOB = "markov: {values: [1, 0, 0.5], transitions: [[0.9, 0.04, 0.06], [0.5, 0.5, 0], [1/3, 1/3, 1/3]]}"
VALUES = np.array([1, 0, 0.5])
CHANCES = np.array([[0.9, 0.04, 0.06], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])


def _stationary(chances: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eig(chances.T)
    found = np.real(vectors[:, np.argmin(abs(values - 1))])
    return found / found.sum()


@pytest.mark.parametrize("own", [True, False])
def test_transitions_of_a_markov_chain(build: Callable[..., Model], own: bool) -> None:
    declared = f"job: {{start: stationary, {JOB}}}"
    model = build(declared, observes="job") if own else build(economy=declared, count=1, observes="job")
    job = episodes(model, 1)["ant.job"][0].T if own else episodes(model, AGENTS)["job"]
    place = np.argmin(abs(job[..., None] - VALUES), axis=-1)
    assert np.array_equal(VALUES[place].astype(np.float32), job)
    for step in (0, 1, STEPS - 1):
        for k, share in enumerate(_stationary(CHANCES)):
            assert share_is(place[:, step] == k, share)
    now, later = place[:, :-1], place[:, 1:]
    for k in range(3):
        for m in range(3):
            assert share_is(later[now == k] == m, CHANCES[k, m])


def test_agents_follow_chains_of_their_own(build: Callable[..., Model]) -> None:
    model = build(f"job: {{start: 1, {JOB}}}", count=2)
    job = episodes(model, 4000)["ant.job"]
    assert np.all(job[:, 0] == 1)
    assert abs(np.corrcoef(job[:, 5, 0], job[:, 5, 1])[0, 1]) < 0.08


def test_a_chain_of_pairs(write_spec: Callable[..., Path]) -> None:
    text = HEAD.format(count=4, observes="mood", own="", economy="", equations="").replace("index: i", "index: [i, k]")
    chain = "markov: {values: [2, 3], transitions: [[0, 1], [1, 0]]}"
    spec = text.replace("rest: 0", f"rest: 0\n      mood: {{over: ant, start: 2, {chain}}}")
    model = compile(write_spec(spec))
    mood = episodes(model, 1)["ant.mood"][0]
    assert mood.shape == (STEPS, 4, 4)
    assert np.array_equal(mood[:, 1, 2], [2, 3] * (STEPS // 2))


def test_values_of_a_chain_are_seen_by_their_size(build: Callable[..., Model]) -> None:
    model = build(f"job: {{start: 0, {JOB.replace('[1, 0, 0.5]', '[100, -400, 5]')}}}".replace("start: 0", "start: 5"),
                  count=2, observes="job")  # fmt: skip
    assert np.allclose(model.observe(model.reset(jax.random.key(0)))["ant"], 5 / 400)


def test_a_start_for_each_agent(build: Callable[..., Model]) -> None:
    model = build(f"job: {{start: [0, 1, 0.5], {JOB}}}", count=3)
    assert np.array_equal(model.reset(jax.random.key(0))["ant.job"], [0, 1, 0.5])


def chain_of(write_spec: Callable[..., Path], own: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, chances, stationary shares) as they stand in the IR of a state of the economy."""
    text = HEAD.format(own="", economy=f"  z: {{start: stationary, {own}}}", equations="", count=1, observes="z")
    model = compile_spec(write_spec(text)).model
    later = parts(next(d.expression for d in model.equations if d.symbol == "z'"))
    start = parts(next(d.expression for d in model.starts if d.symbol == "z"))
    values = np.array(later[1::2])
    cumulative = [parts(one)[1::2] if isinstance(one, ir.Apply) else [one] * len(values) for one in later[2::2]]
    chances = np.diff(np.column_stack([*np.array(cumulative, float), np.ones(len(values))]), axis=1, prepend=0)
    return np.array(values, float), chances, np.diff([*start[2::2], 1.0], prepend=0)


def parts(node: ir.Expression) -> list[Any]:
    """The arguments of a function, written numbers as such."""
    assert isinstance(node, ir.Apply)
    return [float(one.value) if isinstance(one, ir.Constant) else one for one in node.arguments]


@pytest.mark.parametrize("persistence", [0.9, 0.0, -0.5, 0.999])
@pytest.mark.parametrize("states", [2, 3, 7, 30])
def test_rouwenhorst_has_the_moments_of_the_process(
    write_spec: Callable[..., Path], persistence: float, states: int
) -> None:
    own = f"markov: {{rouwenhorst: {{persistence: {persistence}, standard_deviation: 0.1, states: {states}, mean: 2}}}}"
    values, chances, shares = chain_of(write_spec, own)
    assert len(values) == states
    assert np.allclose(chances.sum(1), 1)
    assert np.all(chances >= -1e-15)
    assert np.allclose(shares @ chances, shares, atol=1e-12)
    assert np.isclose(shares @ values, 2, atol=1e-12)
    variance = shares @ (values - 2) ** 2
    assert np.isclose(variance, 0.01, rtol=1e-10)
    assert np.allclose(chances @ (values - 2), persistence * (values - 2), atol=1e-12)
    # Conditional variance: that of the shocks, the same from every value.
    assert np.isclose(shares @ (chances @ values**2 - (chances @ values) ** 2), 0.01 * (1 - persistence**2), rtol=1e-9)


def test_rouwenhorst_by_the_size_of_its_shocks(write_spec: Callable[..., Path]) -> None:
    values, _, shares = chain_of(write_spec, "markov: {rouwenhorst: {persistence: 0.95, shock: 0.02, states: 5}}")
    assert np.isclose(shares @ values**2, 0.0004 / (1 - 0.95**2), rtol=1e-10)


@pytest.mark.parametrize(
    ("transitions", "expected"),
    [
        ("[[0.9, 0.1], [0.5, 0.5]]", [5 / 6, 1 / 6]),
        ("[[0, 1], [1, 0]]", [0.5, 0.5]),
        ("[[1, 0], [0.1, 0.9]]", [1, 0]),
        ("[[0.5, 0.5], [0, 1]]", [0, 1]),
        ("[[0, 1, 0], [0, 0, 1], [1, 0, 0]]", [1 / 3] * 3),
        ("[[0.2, 0.8, 0], [0.4, 0.6, 0], [0, 0.5, 0.5]]", [1 / 3, 2 / 3, 0]),
        ("[[0.5, 0.25, 0.25], [0, 1/2, 1/2], [0, 1/4, 3/4]]", [0, 1 / 3, 2 / 3]),
    ],
)
def test_stationary_shares(write_spec: Callable[..., Path], transitions: str, expected: list[float]) -> None:
    values = list(range(1, len(expected) + 1))
    *_, shares = chain_of(write_spec, f"markov: {{values: {values}, transitions: {transitions}}}")
    assert np.allclose(shares, expected, atol=1e-12)


def test_steps(write_spec: Callable[..., Path]) -> None:
    """Brackets of a tax, for example."""
    steps = "    rate[i] = steps(i, 10, 2, 20, 4, 30)"
    text = HEAD.format(own="", economy="", count=6, observes="", equations=steps)
    model = compile(write_spec(text))
    state = model.reset(jax.random.key(0))
    _, outcome = model.step(state, model.sample(state, jax.random.key(0)), jax.random.key(0))
    assert np.array_equal(outcome.values["rate"], [10, 10, 20, 20, 30, 30])
