"""Models that differ in the values of parameters only, and so are one program with other arguments."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax

from rbcc.compiler import ir
from rbcc.runtime.economy.model import Model


@dataclass(frozen=True)
class Variant:
    """A model as a program and its arguments."""

    model: Model

    @cached_property
    def _parsed(self) -> tuple[str, dict[str, str]]:
        """The code of the generated module without written values of parameters, and these by name.

        Comments and the head, which say where values come from, are not code. A parameter that is computed from others
        is code: it follows from their arguments.
        """
        tree, values = ast.parse(self.model.text), {}
        del tree.body[0]
        constants = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "constants")
        for node in ast.walk(constants):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("given"), attr="get"), args=[ast.Constant(name), value]
                ):
                    if all(one.id in ("jnp", "float", "bool") for one in ast.walk(value) if isinstance(one, ast.Name)):
                        values[name] = ast.dump(value)
                        node.args[1] = ast.Constant(None)
        return ast.dump(tree), values

    @cached_property
    def _rest(self) -> ir.Model:
        """The model as the runtime reads it while it trains, without the values of parameters."""
        places = self.model.ir
        return replace(places, digest="", parameters=(), verification=None)  # type: ignore[arg-type]

    def shares_program(self, other: "Variant") -> bool:
        """Whether training both is one program: sizes, choices, equations and schedules are the same."""
        return self._parsed[0] == other._parsed[0] and self._rest == other._rest

    def written(self, name: str) -> str | None:
        """The code of the value of a parameter, None if it is computed from others."""
        return self._parsed[1].get(name)


def programs(models: Sequence[Model]) -> list[list[int]]:
    """The places of models that share a program, by program, in the order of the first of each."""
    variants, groups = [Variant(model) for model in models], []
    for place, variant in enumerate(variants):
        group = next((group for group in groups if variants[group[0]].shares_program(variant)), None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    return groups


def arguments(models: Sequence[Model]) -> list[dict[str, jax.Array]]:
    """The parameters that differ among models that share a program, of each, in the layout of the generated module."""
    variants = [Variant(model) for model in models]
    names = [d.symbol for d in models[0].ir.parameters]
    differing = [name for name in names if len({variant.written(name) for variant in variants}) > 1]
    constants = [model.module.constants() for model in models]
    return [{name: values[name] for name in differing} for values in constants]
