"""Trained episodes as labelled arrays."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr

from rbcc.compiler import ir
from rbcc.compiler.util.atomic_write import write_file
from rbcc.runtime import prng
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.parallel.devices import SINGLE, check_memory, check_size
from rbcc.runtime.policies.policy import Parameters
from rbcc.runtime.rollout.rollout import rollout, sampling
from rbcc.runtime.storage.run_directory import Run
from rbcc.runtime.training.loop import networks_of


def simulate(folder: str | Path, *, episodes: int = 100, steps: int | None = None, seed: int = 0) -> xr.Dataset:
    """Plays `episodes` with the trained policies of a run, of `steps` steps, by default the horizon of the model.

    Every state (at the start of a step), choice, value of an equation, reward and indicator is a variable with the
    dimensions episode, step and the agent types it is indexed by, in the order of the spec; units and descriptions are
    attributes. Raises RunError if the run has no checkpoint, if episodes that end are to go on, or if memory does not
    suffice.
    """
    run = Run.open(folder)
    model = run.model
    if steps and steps > model.ir.horizon and not model.ir.continuing:
        raise RunError(
            f"episodes of {model.ir.name} end after {model.ir.horizon} steps; only a 'continuing' model goes on"
        )
    arrays = jax.device_get(play(model, run.profile(), episodes, steps, seed))
    variables = {name: _variable(model, name, array) for name, array in arrays.items()}
    attributes = {
        "title": model.ir.title or model.ir.name,
        "reference": model.ir.reference or "",
        "spec_digest": run.manifest["digest"],
        "training_seed": run.manifest["seed"],
        "seed": seed,
        "source": f"rbcc {run.manifest['versions']['rbcc']}",
    }
    return xr.Dataset(variables, attrs=attributes)


def write_simulation(data: xr.Dataset, path: Path) -> None:
    """Writes what `simulate` gives to a netCDF file, whole or not at all. Raises OSError if that cannot be."""
    write_file(path, bytes(data.to_netcdf(engine="h5netcdf")))


Changes = Mapping[str, tuple[int, Any]]
"""By state: in which step what is added, one number or an array as the states of all economies are stored."""


def play(
    model: Model, profile: Mapping[str, Parameters], episodes: int, steps: int | None, seed: int
) -> dict[str, jax.Array]:
    """All states, choices, values, rewards and indicators by name, (steps, episodes, ...)."""
    return playing(model, profile, episodes, steps, seed)({})


def playing(
    model: Model, profile: Mapping[str, Parameters], episodes: int, steps: int | None, seed: int
) -> Callable[[Changes], dict[str, jax.Array]]:
    """A function of changes of states that plays episodes as `play` does.

    What happens differs only by what they change. It is compiled once for changes of the same states. It raises
    RunError if memory does not suffice.
    """
    nets = networks_of(model)

    def watch(now: Any, actions: Any, following: Any, result: dict[str, Any]) -> dict[str, jax.Array]:
        del following
        rewards = {f"{agent}.reward": reward for agent, reward in result["rewards"].items()}
        indicators = {f"indicator.{name}": value for name, value in result["indicators"].items()}
        kept = model.written({**now, **actions, **result["values"]})
        del kept["time"]
        return {**kept, **rewards, **indicators}

    @jax.jit
    def run(profile: Mapping[str, Parameters], key: jax.Array, changes: Changes) -> Any:
        players = {a: sampling(policy, profile[a], policy.allowed()) for a, policy in nets.items()}
        return rollout(model, nets, players, key, jnp.arange(episodes), {}, watch, steps, changes).watched

    length = steps or model.ir.horizon
    what, fewer = f"playing {episodes:,} episodes of {length:,} steps", "play fewer or shorter ones"
    check_size(model.ir, what, episodes, length, fewer)
    key = jax.random.fold_in(prng.key(seed), 0x51A)

    programs: dict[tuple[str, ...], Any] = {}

    def played(changes: Changes) -> dict[str, jax.Array]:
        names = tuple(sorted(changes))
        if names not in programs:
            programs[names] = run.lower(profile, key, changes).compile()
            check_memory(programs[names], what, SINGLE, fewer)
        return programs[names](profile, key, changes)

    return played


def _variable(model: Model, name: str, array: Any) -> xr.Variable:
    """(step, episode, ...) with dimensions and attributes."""
    symbols = {symbol.name: symbol for symbol in model.ir.symbols}
    symbol: ir.Symbol | None = symbols.get(name)
    dims: list[str] = ["step", "episode"]
    types = {agent.name for agent in model.ir.agents}
    for owner in symbol.sets if symbol else ():
        others = (f"{owner}_{number}" for number in itertools.count(2))
        free = (other for other in others if other not in dims and other not in types)
        dims.append(owner if owner not in dims else next(free))
    attributes: dict[str, str] = {}
    if symbol is not None:
        attributes = {"role": str(symbol.role), "long_name": symbol.doc or ""}
        if symbol.type.unit is not None:
            attributes["units"] = str(symbol.type.unit)
    return xr.Variable(dims, array, attributes).transpose("episode", "step", ...)
