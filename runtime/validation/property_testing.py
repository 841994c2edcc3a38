"""A model tried out: what must hold is tested in many random cases, and a failure is told in the smallest one.

Episodes start as the model does; every choice is random in some and at its ends in others, for one agent or for all. In
them everything must hold. Further cases start from states that need not be reached, near the start and far from it:
in them accounts must hold wherever all numbers are finite, and identities that are about equations, not about paths:
one of states alone, such as a balance sheet, need not hold in states that are not reached.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting import of_states
from rbcc.runtime.actions.spaces import within
from rbcc.runtime.economy.model import Model
from rbcc.runtime.errors import RunError
from rbcc.runtime.parallel.devices import check_size
from rbcc.runtime.validation.conditions import Checks, Failure, record_of


EPISODES, STATES = 192, 64
MAX_STEPS = 50
MAX_NUMBERS = 50_000_000
"""Numbers in all cases together, of states, choices and values; cases are fewer where they would be more."""
MAX_FAILURES = 8
MAX_ROUNDS = 12
SHARES = tuple(k / 8 for k in range(9))
"""Of an interval, what is tried; of a whole, what a member is given before all is scaled to sum to 1."""
SHOWN = 8


@dataclass(frozen=True)
class Case:
    """A state, choices and keys of the steps that follow, steps first; `free` if the model need not reach the state."""

    state: dict[str, np.ndarray]
    choices: dict[str, np.ndarray]
    keys: np.ndarray
    free: bool

    @property
    def steps(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Audit:
    """What was tested, and the checks that failed."""

    episodes: int
    states: int
    steps: int
    checks: int
    seed: int
    failures: tuple[Failure, ...]

    def text(self) -> str:
        """What was tested and what failed, for people."""
        head = (
            f"{self.checks} checks in each of {self.steps} steps of {self.episodes} random episodes, and of {self.states} "
            f"from random states, seed {self.seed}: "
        )
        if not self.failures:
            return head + "all hold"
        return "\n\n".join([f"{head}{len(self.failures)} fail", *map(str, self.failures)])

    def as_data(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)


def audit(model: Model) -> None:
    """Tests the parameters, accounts, identities and invariants of a model, and that agents have a choice.

    Raises RunError with the first that is not finite, or does not hold.
    """
    parameter = Checks(model).of_parameters(model.written(model.module.constants()))
    if parameter is not None:
        raise RunError(str(parameter))
    if model.ir.balances or model.ir.invariants or model.ir.uncertain:
        found = try_out(model, numbers=False).failures
        if found:
            raise RunError(str(found[0]))


def try_out(model: Model, seed: int = 0, numbers: bool = True) -> Audit:
    """Tests a model in double precision; also, with `numbers`, that all equations give finite numbers."""
    with jax.enable_x64(True):
        return _Tests(model, seed).run(numbers)


class _Tests:
    def __init__(self, model: Model, seed: int):
        self.model, self.seed = model, seed
        self.checks = Checks(model)
        self.steps = min(model.ir.horizon, MAX_STEPS)
        size = sum(np.prod([model.ir.count(owner) for owner in symbol.sets]) for symbol in model.ir.symbols)
        most = max(4, int(MAX_NUMBERS / (size * self.steps)))
        self.episodes, self.states = min(EPISODES, most - most // 4), min(STATES, most // 4)
        self.random = np.random.default_rng(seed)
        check_size(model.ir, "testing the model", self.episodes + self.states, self.steps, "lower the counts of agents")

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(array) for name, array in self.model.reset(jax.random.key(self.seed)).items()}

    @cached_property
    def values(self) -> dict[str, tuple[float, ...]]:
        """What is tried of each choice; of a continuous one, shares."""
        return {name: SHARES if space.continuous else space.values for name, space in self.model.spaces.items()}

    @cached_property
    def least(self) -> dict[str, np.ndarray]:
        """The choices nearest to nothing: 0, or the first member, in one step."""
        return {
            name: np.full(space.shape, min(self.values[name], key=abs), int if space.of else float)
            for name, space in self.model.spaces.items()
        }

    def actions(self, state: Any, choices: Any) -> Any:
        """Choices in physical units: shares of intervals become numbers, choices that are not allowed the nearest that
        are, stage by stage; shares of a whole sum to 1."""
        choices = {name: self.scaled(name, own) for name, own in choices.items()}
        if not any(space.interval or space.restricted for space in self.model.spaces.values()):
            return choices
        found, stored, given = {}, self.model.stored(state), self.model.given(None)
        for stage in range(self.model.ir.stages):
            bounds = self.model.bounds(stored, found, given, stage)
            allowed = self.model.allowed(stored, found, given, stage)
            for name, own in self.model.stored(choices).items():
                if self.model.ir.stage_of(name) == stage:
                    if name in allowed:
                        found[name] = self.model.spaces[name].legal(own, allowed[name])
                    else:
                        found[name] = within(own, bounds[name]) if name in bounds else own
        return self.model.written(found)

    def scaled(self, name: str, choices: Any) -> Any:
        """What members are given of a whole, the last axis, as shares that sum to 1: all to the first if nobody is."""
        if not self.model.spaces[name].shares:
            return choices
        whole = choices.sum(-1, keepdims=True)
        first = jnp.eye(choices.shape[-1])[0]
        return jnp.where(whole == 0, first, choices / jnp.where(whole == 0, 1, whole))

    def run(self, numbers: bool) -> Audit:
        failures = tuple(self.failures(numbers))
        return Audit(self.episodes, self.states, self.steps, len(self.checks.all), self.seed, failures)

    # --- cases -------------------------------------------------------------------------------------------------

    def random_episodes(self) -> Iterator[Case]:
        """All choices random, all at either end, each at either end while the others are random, and mixtures."""
        names = list(self.model.spaces)
        fixed = [dict.fromkeys(names, kind) for kind in ("random", "lowest", "highest")]
        fixed += [{**fixed[0], name: end} for name in names for end in ("lowest", "highest")]
        for number, start in enumerate(self.starts()):
            kinds = fixed[number] if number < len(fixed) else self.mixture(names)
            choices = {name: self.chosen(name, kind) for name, kind in kinds.items()}
            yield Case(start, choices, self.keys(), False)

    def starts(self) -> Iterator[dict[str, np.ndarray]]:
        """A start for each episode, other ones if they are drawn."""
        drawn = any(isinstance(node, ir.Draw) for start in self.model.ir.starts for node in ir.walk(start.expression))
        if not drawn:
            yield from [self.start] * self.episodes
            return
        keys = jax.random.split(jax.random.key(self.seed), self.episodes)
        states = jax.device_get(jax.jit(jax.vmap(self.model.reset))(keys))
        yield from ({name: array[k] for name, array in states.items()} for k in range(self.episodes))

    def mixture(self, names: Sequence[str]) -> dict[str, str]:
        """A kind of behaviour for each choice; in every other case all keep to the ends."""
        kinds = ("lowest", "highest") if self.random.random() < 0.5 else (
            "random", "lowest", "highest", "steady", "ends", "alone",
        )  # fmt: skip
        return {name: str(self.random.choice(kinds)) for name in names}

    def chosen(self, name: str, kind: str) -> np.ndarray:
        """Choices of all agents in all steps, (steps, ...)."""
        space = self.model.spaces[name]
        values = np.array(self.values[name], int if space.of else float)
        shape = (self.steps, *space.shape)
        if space.shares and kind in ("highest", "random"):
            return self.divided(shape, kind)
        match kind:
            case "lowest" | "highest":
                return np.full(shape, values[0 if kind == "lowest" else -1])
            case "steady":
                return np.broadcast_to(self.random.choice(values, space.shape), shape).copy()
            case "ends":  # all at one end in one step, at the other in another
                ends = self.random.choice(values[[0, -1]], self.steps)
                return np.broadcast_to(ends.reshape(-1, *[1] * len(space.shape)), shape).copy()
            case "alone":
                found = np.broadcast_to(self.least[name], shape).copy()
                if space.shape:
                    agent = self.random.integers(space.shape[0])
                    found[:, agent] = self.random.choice(values, found[:, agent].shape)
                return found
        return self.random.choice(values, shape)

    def divided(self, shape: tuple[int, ...], kind: str) -> np.ndarray:
        """What members are given of a whole, `shape`: the last gets all, or one at random, or each something."""
        *others, members = shape
        if kind == "highest":
            return np.broadcast_to(np.eye(members)[-1], shape).copy()
        alone = np.eye(members)[self.random.integers(members, size=others)]
        return np.where(self.random.random((*others, 1)) < 0.5, alone, self.random.choice(SHARES, shape))

    def random_states(self) -> Iterator[Case]:
        for _ in range(self.states):
            state = {name: np.asarray(self.moved(name, array)) for name, array in self.start.items()}
            kinds = self.mixture(list(self.model.spaces))
            yield Case(state, {name: self.chosen(name, kind) for name, kind in kinds.items()}, self.keys(), True)

    def moved(self, name: str, start: np.ndarray) -> np.ndarray:
        """A state other than the start: near it, far from it, below 0, or all 0."""
        if name == "time":
            return np.asarray(self.random.integers(self.model.ir.horizon), start.dtype)
        if start.dtype == bool:
            return self.random.random(start.shape) < self.random.random()
        size = max(1.0, float(np.abs(start).max())) * 10.0 ** self.random.integers(-1, 3)
        match self.random.integers(4):
            case 0:
                return start * self.random.uniform(0.9, 1.1, start.shape)
            case 1:
                return start + size * self.random.standard_normal(start.shape)
            case 2:
                return size * self.random.exponential(size=start.shape)
        return np.where(self.random.random(start.shape) < 0.5, 0, start)

    def keys(self) -> np.ndarray:
        return self.random.integers(0, 2**32, (self.steps, 2), np.uint32)

    # --- running them ------------------------------------------------------------------------------------------

    @cached_property
    def program(self) -> Callable[..., Any]:
        """Plays cases: which checks hold in each step, and all arrays of the first in which number `k` does not.

        Both come from one program, so that what is told of a failure is what failed, to the last digit.
        """

        def step(state: Any, given: Any) -> Any:
            choices, key = given
            actions = self.actions(state, choices)
            following, outcome = self.model.step(state, actions, jax.random.wrap_key_data(key))
            record = record_of(state, actions, following, outcome)
            return following, self.checks.hold(record, outcome), record

        def play(state: Any, choices: Any, keys: jax.Array, k: jax.Array) -> Any:
            def advance(carry: Any, given: Any) -> Any:
                state, found, kept = carry
                following, holds, record = step(state, given)
                kept = jax.tree.map(lambda old, new: jnp.where(found, old, new), kept, record)
                return (following, found | ~holds[k], kept), holds

            first = jax.tree.map(lambda array: array[0], (choices, keys))
            shapes = jax.eval_shape(lambda: step(state, first)[2])
            nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
            (_, _, kept), holds = jax.lax.scan(advance, (state, jnp.asarray(False), nothing), (choices, keys))
            return holds, kept

        return jax.jit(jax.vmap(play, (0, 0, 0, None)))

    def played(self, cases: Sequence[Case], k: int = 0) -> Any:
        """What the program gives for as many cases as it takes, or fewer."""
        batch = [self.padded(case) for case in cases]
        batch += batch[:1] * (self.episodes + self.states - len(batch))
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *[(c.state, c.choices, c.keys) for c in batch])
        return self.program(*stacked, k)

    def held(self, cases: Sequence[Case]) -> np.ndarray:
        """Which checks hold in each step of each case, (cases, steps, checks); true beyond the end of a case."""
        whole = self.episodes + self.states
        found = [self.played(cases[first : first + whole])[0] for first in range(0, len(cases), whole)]
        results = np.concatenate(found)[: len(cases)]
        for result, case in zip(results, cases, strict=True):
            result[case.steps :] = True
        return results

    def padded(self, case: Case) -> Case:
        missing = self.steps - case.steps
        if not missing:
            return case
        choices = {
            name: np.concatenate([array, np.broadcast_to(self.least[name], (missing, *array.shape[1:]))])
            for name, array in case.choices.items()
        }
        return replace(case, choices=choices, keys=np.concatenate([case.keys, np.zeros((missing, 2), np.uint32)]))

    def failed(self, cases: Sequence[Case]) -> np.ndarray:
        """Which checks fail in each step of each case, (cases, steps, checks), of those that say something there.

        After an equation has given no number nothing does; of the equations of that step only the first does.
        """
        found = ~self.held(cases)
        many = len(self.checks.equations)
        wrong = found[..., :many]
        broken = np.cumsum(wrong.any(-1), axis=1) > 0
        first = np.zeros_like(wrong)
        np.put_along_axis(first, wrong.argmax(-1)[..., None], True, axis=-1)
        earlier = np.cumsum(broken, axis=1) > 1
        found[..., :many] = wrong & first & ~earlier[..., None]
        found[..., many:] &= ~broken[..., None]
        if self.checks.choices:  # after an agent had nothing to choose from nothing says anything, either
            last = len(self.checks.all) - len(self.checks.choices)
            found[..., :last] &= ~(np.cumsum(found[..., last:].any(-1), axis=1) > 0)[..., None]
        free = np.array([case.free for case in cases])
        told = np.zeros(len(self.checks.all), bool)  # also in states that need not be reached
        # Of states alone one holds only where it held before: there it need not.
        told[many : many + len(self.checks.balances)] = [
            not of_states(self.model.ir, one) for one in self.checks.balances
        ]
        return found & (told | ~free[:, None, None])

    def failures(self, numbers: bool) -> Iterator[Failure]:
        parameter = self.checks.of_parameters(self.model.written(self.model.module.constants()))
        if parameter is not None:  # all else would follow from it
            yield parameter
            return
        cases = [*self.random_episodes(), *self.random_states()]
        failed = self.failed(cases)
        if not numbers:
            failed[..., : len(self.checks.equations)] = False
        for k in np.flatnonzero(failed.any((0, 1)))[:MAX_FAILURES]:
            # The earliest step, in an episode rather than from a free state.
            number = min(np.flatnonzero(failed[..., k].any(1)), key=lambda c: (cases[c].free, failed[c, :, k].argmax()))
            yield self.told(_Smaller(self, int(k)).of(cases[number]), int(k))

    def told(self, case: Case, k: int) -> Failure:
        """What to say of check number `k`, which fails in the last step of a case."""
        _, kept = self.played([case], k)
        record = {name: array[0] for name, array in jax.device_get(kept).items()}
        constants = self.model.written(self.model.module.constants())
        found = self.checks.failure(self.checks.all[k], {**constants, **record}, int(record["time"]))
        return replace(found, case=tuple(self.words(case)))

    def words(self, case: Case) -> Iterator[str]:
        """How to come to the last step of a case."""
        changed = [
            f"{name}{_place(place)} = {_number(array[place])}"
            for name, array in case.state.items()
            for place in map(tuple, np.argwhere(array != self.start[name]))
        ]
        if case.free:
            yield f"from a state that need not be reached: {_listed(changed) or 'the start'}"
        else:
            yield f"from a start that was drawn with {_listed(changed)}" if changed else "from the start"
        chosen = []
        for name, array in case.choices.items():
            of = " of its interval" if self.model.spaces[name].interval else ""
            least = np.asarray(self.scaled(name, self.least[name]))
            for step, now in enumerate(np.asarray(self.scaled(name, array))):
                when = of + (f" in step {step}" if case.steps > 1 else "")
                other = now != least
                if other.all() and now.size > 1 and (now == now.flat[0]).all():
                    chosen.append(f"all {name} = {_number(now.flat[0])}{when}")
                    continue
                chosen += [f"{name}{_place(p)} = {_number(now[p])}{when}" for p in map(tuple, np.argwhere(other))]
        if case.choices:
            given = f"with the choices {_listed(chosen)}; all others" if chosen else "with all choices"
            first = ", shares all with the first" if any(s.shares for s in self.model.spaces.values()) else ""
            restricted = any(space.restricted for space in self.model.spaces.values())
            other = "; for one that is not allowed stands the nearest that is" if restricted else ""
            yield f"{given} as near to 0 as they can be{first}{other}"


class _Smaller:
    """Looks for a smaller case in which check number `k` still fails."""

    def __init__(self, tests: _Tests, k: int):
        self.tests, self.k = tests, k

    def of(self, case: Case) -> Case:
        case = self.cut(case, *self.steps_of([case]))
        for _ in range(MAX_ROUNDS):
            before = case
            case = self.fewer_steps(case)
            for key in ("name", "agent", "step", "single"):
                case = self.improved(case, lambda now, key=key: self.usual(now, key))
            if case is before:
                break
        return self.improved(case, self.simpler)

    def steps_of(self, cases: Sequence[Case]) -> list[int | None]:
        """For each case the step in which the check fails first, if it does."""
        failed = self.tests.failed(cases)[..., self.k]
        return [int(one.argmax()) if one.any() else None for one in failed]

    def cut(self, case: Case, step: int | None) -> Case:
        """A case up to the step in which the check fails."""
        assert step is not None
        return case if step + 1 == case.steps else self.only(case, list(range(step + 1)))

    def only(self, case: Case, steps: list[int]) -> Case:
        return replace(case, choices={n: a[steps] for n, a in case.choices.items()}, keys=case.keys[steps])

    def fewer_steps(self, case: Case) -> Case:
        while case.steps > 1:
            trials = [self.only(case, [s for s in range(case.steps) if s != out]) for out in range(case.steps)]
            found = [(t, step) for t, step in zip(trials, self.steps_of(trials), strict=True) if step is not None]
            if not found:
                break
            case = self.cut(*found[0])
        return case

    def improved(self, case: Case, changes: Callable[[Case], Iterable["_Change"]]) -> Case:
        """A case with as many of the changes as leave the check failing, as often as there are any."""
        for _ in range(MAX_ROUNDS):
            wanted = list(changes(case))[: self.tests.episodes + self.tests.states]
            trials = [_changed(case, [change]) for change in wanted]
            good = (
                [c for c, step in zip(wanted, self.steps_of(trials), strict=True) if step is not None] if trials else []
            )
            if not good:
                break
            trials = [_changed(case, good[: number + 1]) for number in range(len(good))]
            found = [(t, step) for t, step in zip(trials, self.steps_of(trials), strict=True) if step is not None]
            case = self.cut(*found[-1])
        return case

    def usual(self, case: Case, key: str) -> Iterator["_Change"]:
        """What is not as usual made usual: by name, by agent, by step, or one by one."""
        entries = list(self.unusual(case))
        groups: dict[object, _Change] = {}
        chunk = 1 + len(entries) // (self.tests.episodes + self.tests.states)
        for number, (name, place, step, value) in enumerate(entries):
            owner = self.tests.model.ir.symbol(name).owner
            agent = place[0] if owner and place and self.tests.model.ir.agent(owner).indices else 0
            group = {"name": name, "agent": (owner, agent), "step": step, "single": number // chunk}[key]
            groups.setdefault(group, []).append((name, place, step, value))
        yield from groups.values()

    def unusual(self, case: Case) -> Iterator["_Entry"]:
        """Everything in a case that is not as usual, with what would be: the start, or the least choice."""
        for name, array in case.state.items() if case.free else ():
            start = self.tests.start[name]
            yield from ((name, place, None, start[place]) for place in map(tuple, np.argwhere(array != start)))
        for name, array in case.choices.items():
            least = self.tests.least[name]
            for step, *place in np.argwhere(array != least):
                yield name, tuple(place), int(step), least[tuple(place)]

    def simpler(self, case: Case) -> Iterator["_Change"]:
        """What is not as usual brought nearer to it, or to a round number, one by one."""
        for name, place, step, usual in self.unusual(case):
            if step is None:
                value = case.state[name][place]
                if value.dtype == bool:
                    continue
                round_, half = float(f"{value:.0e}"), float(f"{(value + usual) / 2:.0e}")
                nearer = round_ if round_ != value else half
                if abs(nearer - usual) < abs(value - usual) or nearer == round_ != value:
                    yield [(name, place, step, nearer)]
            else:
                values = sorted(self.tests.values[name], key=lambda v: (abs(v - usual), v))
                rank = values.index(float(case.choices[name][(step, *place)]))
                if rank > 1:
                    yield [(name, place, step, values[rank // 2])]


_Entry = tuple[str, tuple[int, ...], int | None, Any]
"""(name, place in the array, step if it is a choice, value)"""
_Change = list[_Entry]


def _changed(case: Case, changes: Iterable[_Change]) -> Case:
    state, choices = dict(case.state), dict(case.choices)
    for name, place, step, value in (entry for change in changes for entry in change):
        table, where = (state, place) if step is None else (choices, (step, *place))
        if table[name] is (case.state if step is None else case.choices).get(name):
            table[name] = table[name].copy()
        table[name][where] = value
    return replace(case, state=state, choices=choices)


def _place(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def _number(value: Any) -> str:
    return str(bool(value)).lower() if value.dtype == bool else f"{float(value):.9g}"


def _listed(words: Sequence[str]) -> str:
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
