"""Accounts tried out with random numbers: one that does not balance for some is wrong, whatever a proof would take.

The functions of the generated module run with NumPy in place of JAX, at states, choices and parameters that need not
be reached: an account has to balance for all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.roots import root_of_all, root_of_each
from rbcc.compiler.backends.jax.module import emit
from rbcc.compiler.ir.axis_order import layout
from rbcc.compiler.ir.constants import literal_value
from rbcc.compiler.ir.types import Kind, Type
from rbcc.compiler.optimize.constant_folding import fold


CASES = 10
MAX_NUMBERS = 2_000_000  # in the arrays of a model; larger ones are not tried
_IMPORTS = "import jax\nimport jax.numpy as jnp\n"
_ROUNDING = 1e-9  # of the sum of all numbers in a case


@dataclass(frozen=True)
class Trial:
    """Whether an account balances in a few random cases, None if too few of them have numbers to tell.

    If not, `explained_by` are the numbers of those suspects that are in all cases what its stocks gain too much.
    """

    balances: bool | None
    explained_by: tuple[int, ...]


def trials(model: ir.Model, suspects: Mapping[str, Sequence[ir.Expression]]) -> dict[str, Trial]:
    """What random cases say of the accounts of `model` that have `suspects`; nothing if the model cannot be tried."""
    import numpy as np

    if sum(math.prod(map(model.count, symbol.sets)) for symbol in model.symbols) > MAX_NUMBERS:
        return {}
    tried = replace(model, identities=_equalities(model, suspects))
    text = emit(fold(tried))
    if _IMPORTS not in text:
        raise RuntimeError("generated modules import JAX in another way than accounts are tried without it")
    text = text.replace(_IMPORTS, "", 1)
    random = np.random.default_rng(0)
    scope: dict[str, Any] = {"jax": SimpleNamespace(random=_draws(random)), "jnp": np}
    with np.errstate(all="ignore"):
        try:
            exec(text, scope)
            scope |= {"root_of_each": root_of_each, "root_of_all": root_of_all}
            cases = [_Case(tried, scope, random) for _ in range(CASES)]
        except Exception:  # a primitive of the model's own may need JAX itself, or not be able to take such numbers
            return {}
        return {name: _trial(cases, name, len(found)) for name, found in suspects.items()}


def _trial(cases: Sequence["_Case"], account: str, suspects: int) -> Trial:
    told = [found for case in cases if (found := case.balances(account)) is not None]
    if all(told):
        return Trial(True if 2 * len(told) > len(cases) else None, ())
    return Trial(False, tuple(k for k in range(suspects) if all(case.explains(account, k) for case in cases)))


def _equalities(model: ir.Model, suspects: Mapping[str, Sequence[ir.Expression]]) -> tuple[ir.Identity, ...]:
    """The suspects as sides of equalities, which the module gives back."""
    nothing = ir.Constant(Fraction(0), Type())
    accounts = {account.name: account for account in model.accounts}
    return tuple(
        ir.Identity(f"{name} {k}", accounts[name].indices, suspect, nothing, accounts[name].place)
        for name, found in suspects.items()
        for k, suspect in enumerate(found)
    )


class _Case:
    """What a model does in one step from random numbers."""

    def __init__(self, model: ir.Model, scope: dict[str, Any], random: Any):
        import numpy as np

        parameters = {}
        for definition in model.parameters:
            value = literal_value(definition.expression)
            if value is not None and not definition.indices:
                parameters[definition.symbol] = float(value) * random.lognormal() if value else random.random()
        state: dict[str, Any] = {"time": np.asarray(random.integers(model.horizon))}
        for name, start in scope["reset"](None, parameters).items():
            if name != "time":
                state[name] = _changed(np.asarray(start), random.choice([1.0, 100.0, 10_000.0]), random)
        choices: dict[str, Any] = {}
        for action in model.actions:
            symbol = model.symbol(action.symbol)
            shape = [model.count(symbol.sets[k]) for k in layout(model, symbol)]
            offered = np.asarray(action.choices or (0.0, 1.0, 10.0), int if symbol.type.kind is Kind.CHOICE else float)
            choices[action.symbol] = random.choice(offered, shape)
            if action.shares:
                given, among = random.exponential(size=shape), layout(model, symbol).index(len(shape) - 1)
                choices[action.symbol] = given / given.sum(among, keepdims=True)
        _, result = scope["step"](state, choices, None, parameters)
        arrays = [np.asarray(array, float) for array in (*state.values(), *result["values"].values())]
        self.rounding = _ROUNDING * sum(np.sum(np.abs(array[np.isfinite(array)])) for array in arrays)
        self.sides = result["identities"]

    def gain(self, account: str) -> Any:
        """What the stocks of an account gain beyond what it declares, or None if that is not a number."""
        import numpy as np

        found = np.subtract(*self.sides[account])
        return found if np.all(np.isfinite(found)) else None

    def balances(self, account: str) -> bool | None:
        found = self.gain(account)
        return None if found is None else bool(abs(found).max() <= self.rounding)

    def explains(self, account: str, suspect: int) -> bool:
        """Whether a suspect is what the stocks gain too much, as far as can be told."""
        found, (value, _) = self.gain(account), self.sides[f"{account} {suspect}"]
        return found is None or bool(abs(found - value).max() <= 10 * self.rounding)


def _changed(start: Any, size: float, random: Any) -> Any:
    """A state that may be far from its start, above 0 rather than below."""
    import numpy as np

    if start.dtype == bool:
        return random.random(start.shape) < 0.5
    if start.dtype.kind == "i":
        return start
    return np.asarray(start * random.lognormal(size=start.shape) + size * random.normal(0.5, 1, start.shape))


def _draws(random: Any) -> SimpleNamespace:
    """What the module needs of `jax.random`."""
    return SimpleNamespace(
        fold_in=lambda key, number: key,
        normal=lambda key, shape: random.normal(size=shape),
        uniform=lambda key, shape: random.random(shape),
        bernoulli=lambda key, chance, shape: random.random(shape) < chance,
    )
