"""Where the work is done: economies and seeds shared among the devices of this machine, or of several."""

import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.stages import Wrapped
from platformdirs import user_cache_path

from rbcc.compiler import ir
from rbcc.compiler.ir.types import Precision, Role
from rbcc.runtime.errors import RunError, TooLarge


_T = TypeVar("_T")

CACHE_SIZE = 2**30
"""Bytes of compiled programs that are kept: some hundred; those not used for longest go first."""

MOST_NUMBERS = 2**31 - 1
"""Of one array: JAX counts them in 32 bits."""

_FEWER = "lower the number of economies of the phase, or the share of 'explorers'"

_configured = False

SEEDS, ECONOMIES = "seeds", "economies"
ALL = PartitionSpec()
"""The same on every device."""
BY_SEED = PartitionSpec(SEEDS)
BY_ECONOMY = PartitionSpec(ECONOMIES)


@dataclass(frozen=True)
class Share:
    """What one of `devices` that run the same program does of it: its own economies, sums over those of all."""

    devices: int

    def economies(self, total: int) -> jax.Array:
        """The numbers of this device's economies, of 0 to `total` - 1."""
        count = total // self.devices
        first = jax.lax.axis_index(ECONOMIES) * count if self.devices > 1 else 0
        return first + jnp.arange(count)

    def sum(self, x: _T) -> _T:
        """The sum over devices of every array in `x`: of all at once, since waiting for each other takes the time."""
        if self.devices == 1:
            return x
        flat, whole = ravel_pytree(x)
        return whole(jax.lax.psum(flat, ECONOMIES))

    def first(self, found: jax.Array, x: _T) -> _T:
        """The arrays in `x` of the first device that has `found` what they tell of; nothing of any if none has."""
        if self.devices == 1:
            return x
        mine = jax.lax.axis_index(ECONOMIES)
        own = mine == jax.lax.pmin(jnp.where(found, mine, self.devices), ECONOMIES)
        kept = jax.tree.map(lambda part: jnp.where(own, part, jnp.zeros_like(part)), x)
        return jax.tree.map(lambda part: jax.lax.psum(part, ECONOMIES).astype(part.dtype), kept)

    def mean(self, x: _T) -> _T:
        """The mean over devices of every array in `x`, of floating-point numbers."""
        return jax.tree.map(lambda total: total / self.devices, self.sum(x))


ALONE = Share(1)


@dataclass(frozen=True)
class Placement:
    """A grid of devices, seeds down and economies across; `mesh` is None for a single device."""

    mesh: Mesh | None

    @property
    def rows(self) -> int:
        return self.mesh.shape[SEEDS] if self.mesh else 1

    @property
    def share(self) -> Share:
        return Share(self.mesh.shape[ECONOMIES] if self.mesh else 1)

    @property
    def devices(self) -> int:
        return self.rows * self.share.devices

    def program(self, function: Callable[..., Any], inputs: Any, outputs: Any, donate: tuple[int, ...] = ()) -> Wrapped:
        """`function`, of one device's part of its arguments, compiled for all; `inputs`, `outputs` say how to cut."""
        if self.mesh is None:
            return jax.jit(function, donate_argnums=donate)
        # With check_vma JAX would sum the gradient of every block over devices; ours is summed once.
        mapped = jax.shard_map(function, mesh=self.mesh, in_specs=inputs, out_specs=outputs, check_vma=False)

        named = partial(jax.tree.map, partial(NamedSharding, self.mesh))
        # Named, or arguments that come from elsewhere than the devices would have the program compiled again.
        return jax.jit(mapped, in_shardings=named(inputs), out_shardings=named(outputs), donate_argnums=donate)

    def put(self, x: _T, cut: PartitionSpec) -> _T:
        """Copies of arrays on the devices, cut as `cut` says; with several hosts, all of them have the same arrays."""
        if self.mesh is None:
            return jax.tree.map(jnp.array, x)
        sharding = NamedSharding(self.mesh, cut)

        def put(whole: Any) -> jax.Array:
            return jax.make_array_from_callback(np.shape(whole), sharding, lambda part: np.array(whole)[part])

        return jax.tree.map(put, x)


SINGLE = Placement(None)


def place(economies: Sequence[int], devices: int | None = None, seeds: int = 1) -> Placement:
    """The placement of `seeds` trainings of `economies` each (one number per phase) on `devices` of every host, by
    default all.

    All devices get the same number of economies; of all devices as many are used as allow that. Raises RunError if
    `devices` are asked for that there are not, or that cannot share the economies equally.
    """
    there, hosts, common = jax.local_device_count(), jax.process_count(), math.gcd(*economies)
    if devices is not None and not 1 <= devices <= there:
        kind = jax.devices()[0].platform
        raise RunError(f"there are {there} {kind} devices, not {devices}; use --devices 1 to {there}, or all")

    def columns(number: int) -> int:
        """Devices that share the economies of one seed, when each host has `number`."""
        count = number * hosts
        return count // math.gcd(seeds, count)

    fitting = [number for number in range(1, there + 1) if common % columns(number) == 0]
    if not fitting or (devices is not None and devices not in fitting):
        where = f" on each of {hosts} hosts" if hosts > 1 else ""
        use = f"use --devices {' or '.join(map(str, fitting))}" if fitting else "change their number"
        numbers = " and ".join(map(str, sorted(set(economies))))
        raise RunError(f"{devices or there} devices{where} cannot share {numbers} economies equally; {use}")
    number = devices or max(fitting)
    if number * hosts == 1:
        return SINGLE
    of_host: dict[int, list[Any]] = {}
    for device in jax.devices():
        of_host.setdefault(device.process_index, []).append(device)
    chosen = [device for own in of_host.values() for device in own[:number]]
    grid = np.array(chosen).reshape(-1, columns(number))
    return Placement(Mesh(grid, (SEEDS, ECONOMIES), axis_types=(AxisType.Auto, AxisType.Auto)))


def configure(devices: int | None = None, hosts: str | None = None) -> None:
    """Prepares JAX in a process of its own, before its first use.

    Where there is no accelerator every core becomes a device, or there are as many as `devices`; compiled programs are
    kept in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another; with `hosts`, the processes on
    several hosts find each other: "auto" takes all from the variables of Slurm or Open MPI, "RANK/NUMBER@ADDRESS:PORT"
    says it. Raises RunError if that fails.
    """
    global _configured
    _configured = True
    with suppress(RuntimeError):  # JAX is in use already: its devices stay what they are
        jax.config.update("jax_num_cpu_devices", devices or _cores())
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("rbcc") / "programs"))
        jax.config.update("jax_compilation_cache_max_size", CACHE_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if hosts is not None:
        _join(hosts)


def use_precision(precision: Precision) -> None:
    """Has JAX compute with numbers of 64 bits if a model wants them.

    They are a setting of the whole process. So in a process that `configure` has not prepared it is left to whom the
    process belongs: raises RunError, which says how.
    """
    if precision == "float32" or jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return
    if not _configured:
        raise RunError(
            "the spec has 'precision: float64', a setting of JAX for the whole process: "
            "before anything else, call jax.config.update('jax_enable_x64', True)"
        )
    jax.config.update("jax_enable_x64", True)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _join(hosts: str) -> None:
    found = re.fullmatch(r"(\d+)/(\d+)@(\S+:\d+)", hosts)
    if found is None and hosts != "auto":
        raise RunError(f"'{hosts}' names no hosts; write auto, or RANK/NUMBER@ADDRESS:PORT such as 0/2@node1:1234")
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found[3], num_processes=int(found[2]), process_id=int(found[1]))
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the hosts did not find each other: {error}") from None


def memory(program: Any) -> int:
    """Bytes that a compiled program takes on each of its devices, 0 where XLA does not tell."""
    found = program.memory_analysis()
    if found is None:
        return 0
    # Results that take the place of arguments are counted in both.
    both = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return both + found.temp_size_in_bytes


def check_memory(program: Any, what: str, placement: Placement, advice: str = _FEWER) -> None:
    """Raises TooLarge, with `advice`, if a compiled program, for the devices of `placement`, needs more memory than
    they have."""
    need = memory(program)
    if jax.local_devices()[0].platform == "cpu":
        need *= placement.devices // jax.process_count()
    _check_room(need, what, advice)


def check_size(model: ir.Model, what: str, economies: int, steps: int, advice: str = _FEWER) -> None:
    """Raises TooLarge, with `advice`, if memory is too small for a single array: a number for each agent in each of
    `steps` of `economies`, or the largest state of these.

    For before anything is computed: of a size that is far too large JAX only says that a number overflows.
    """
    states = [symbol for symbol in model.symbols if symbol.role is Role.STATE]
    sizes = [math.prod(model.count(owner) for owner in symbol.sets) for symbol in states]
    numbers = economies * max([steps * max(agent.count for agent in model.agents), *sizes])
    devices = jax.process_count() * (1 if jax.local_devices()[0].platform == "cpu" else jax.local_device_count())
    _check_room(4 * numbers // devices, what, advice)
    if numbers // devices > MOST_NUMBERS:
        raise TooLarge(f"{what} needs arrays of {numbers:,} numbers, and {MOST_NUMBERS:,} is the most; {advice}")


def _check_room(need: int, what: str, advice: str) -> None:
    """Raises TooLarge if a device has fewer than `need` bytes."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf
    else:
        have = (device.memory_stats() or {}).get("bytes_limit", math.inf)
    if need > have:
        raise TooLarge(
            f"{what} needs {need / 2**30:,.1f} GiB of memory, and the device has {have / 2**30:,.1f}; {advice}"
        )
