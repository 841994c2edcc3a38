import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rbcc.compiler.syntax import unit_of
from rbcc.compiler.units import ONE, Unit


_F = TypeVar("_F", bound=Callable[..., Any])


class PrimitiveError(Exception):
    """A primitive that cannot be used, with the reason."""


@dataclass(frozen=True)
class UnitRule:
    """How units pass through a primitive, such as `"a, a -> a"` or `"any, 1 -> util"`.

    A single letter stands for any unit, the same wherever it occurs; `any` for a unit that does not matter; `1` for a
    pure number; longer names for base units. Before `...` stands the unit of all further arguments: `"a... -> a"`.
    """

    arguments: tuple[Unit | None, ...]
    result: Unit
    variadic: bool

    @staticmethod
    def parse(text: str) -> "UnitRule":
        try:
            left, arrow, right = text.partition("->")
            if not arrow:
                raise ValueError("it has no '->'")
            variadic = left.strip().endswith("...")
            patterns = [part.strip() for part in left.strip().removesuffix("...").split(",") if part.strip()]
            arguments = tuple(None if part == "any" else unit_of(part) for part in patterns)
            result = unit_of(right.strip())
        except ValueError as error:
            raise PrimitiveError(f"unit rule {text!r}: {error}; write for example 'a, 1 -> a'") from None
        known = {name for argument in arguments if argument is not None for name, _ in argument.powers}
        if unbound := [name for name, _ in result.powers if len(name) == 1 and name not in known]:
            raise PrimitiveError(f"unit rule {text!r}: the result has {unbound[0]}, which no argument has")
        return UnitRule(arguments, result, variadic)

    def apply(self, units: Sequence[Unit | None]) -> tuple[Unit | None, tuple[int, Unit] | None]:
        """The unit of the result, and the first argument that does not fit with the unit it needed.

        A unit of None is unknown: it fits everywhere, and makes the result unknown where the result depends on it.
        """
        bound: dict[str, Unit | None] = {}
        patterns = self.arguments + self.arguments[-1:] * (len(units) if self.variadic else 0)
        for position, (pattern, unit) in enumerate(zip(patterns, units, strict=False)):
            if pattern is None or unit is None:
                continue
            letter = _letter(pattern)
            if letter and letter[0] not in bound:
                bound[letter[0]] = unit ** (1 / letter[1])
                continue
            needed = _substitute(pattern, bound)
            if needed is not None and needed != unit:
                return _substitute(self.result, bound), (position, needed)
        return _substitute(self.result, bound), None


def _letter(pattern: Unit) -> tuple[str, Fraction] | None:
    if len(pattern.powers) == 1 and len(pattern.powers[0][0]) == 1:
        return pattern.powers[0]
    return None


def _substitute(pattern: Unit, bound: Mapping[str, Unit | None]) -> Unit | None:
    result = ONE
    for name, power in pattern.powers:
        unit = bound.get(name) if len(name) == 1 else Unit.base(name)
        if unit is None:
            return None
        result = result * unit**power
    return result


@dataclass(frozen=True)
class Primitive:
    """A function of the language.

    `text` is its Python definition. It goes into the generated module as it stands, so it may use only its arguments,
    `jax`, `jnp` and other primitives. `inline` names a function of `jnp` that is called instead, without any text.
    `latex` is a template with the arguments in braces.
    """

    name: str
    arguments: tuple[str, ...]
    units: UnitRule
    latex: str | None
    text: str
    doc: str
    inline: str | None = None
    flag: bool = False

    @property
    def variadic(self) -> bool:
        return self.units.variadic

    @property
    def calls(self) -> set[str]:
        """The global names that the definition reads."""
        tree = ast.parse(self.text)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        return {node.id for node in names if isinstance(node.ctx, ast.Load)} - own


def primitive(
    *, units: str, latex: str | None = None, inline: str | None = None, flag: bool = False
) -> Callable[[_F], _F]:
    """Declares a function of the spec language.

    ```python
    from rbcc import primitive

    @primitive(units="a, a -> util", latex=r"\\log({c} - {floor})")
    def stone_geary(c, floor):
        return jnp.log(c - floor)
    ```

    `units` is a unit rule (see `UnitRule`). The function works element by element on arrays that are already aligned
    with each other; JAX differentiates it. Raises PrimitiveError if the rule cannot be read, does not fit the
    arguments, or if the function uses a name that the generated module will not have.
    """

    def declare(function: _F) -> _F:
        rule = UnitRule.parse(units)
        name = function.__name__
        signature = inspect.signature(function)
        arguments = tuple(signature.parameters)
        if not rule.variadic and len(rule.arguments) != len(arguments):
            raise PrimitiveError(
                f"{name} has {len(arguments)} arguments, its unit rule {units!r} has {len(rule.arguments)}"
            )
        text = _definition(function) if inline is None else ""
        function.primitive = Primitive(  # type: ignore[attr-defined]
            name, arguments, rule, latex, text, inspect.getdoc(function) or "", inline, flag
        )
        return function

    return declare


def _definition(function: Callable[..., Any]) -> str:
    """The function's source without decorators."""
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    if not isinstance(node, ast.FunctionDef):
        raise PrimitiveError("a primitive is a function written with 'def'")
    if any(isinstance(inner, (ast.If, ast.IfExp, ast.While, ast.BoolOp, ast.Assert)) for inner in ast.walk(node)):
        raise PrimitiveError(
            f"{node.name} decides by Python's if, while, and, or; it gets arrays: write jnp.where(condition, a, b)"
        )
    return "\n".join(source.splitlines()[node.lineno - 1 :])


def primitives_in(namespace: Mapping[str, Any]) -> dict[str, Primitive]:
    """The primitives declared in a module's namespace, by name."""
    found = (getattr(value, "primitive", None) for value in namespace.values())
    return {p.name: p for p in found if isinstance(p, Primitive)}


def load_file(path: Path, known: Mapping[str, Primitive]) -> dict[str, Primitive]:
    """Runs a Python file and returns the primitives it declares.

    Raises PrimitiveError if it cannot be run, declares none, or declares one that is not self-contained.
    """
    module = ModuleType(f"rbcc_use_{path.stem}")
    module.__file__ = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        sys.modules[module.__name__] = module  # inspect.getsource finds the text through it
        exec(compile(text, str(path), "exec"), vars(module))
    except PrimitiveError:
        raise
    except Exception as error:
        raise PrimitiveError(f"{type(error).__name__}: {error}") from error
    found = primitives_in(vars(module))
    if not found:
        raise PrimitiveError("it declares no primitive; decorate a function with @primitive(units=...)")
    callable_ = {name for name, one in {**known, **found}.items() if one.inline is None}
    for one in found.values():
        if one.name in known:
            raise PrimitiveError(f"{one.name} is a function of the language already; give yours another name")
        if one.inline is not None:
            raise PrimitiveError(f"{one.name}: 'inline' is for functions of the language itself")
        if foreign := one.calls - {*callable_, "jax", "jnp", *dir(builtins)}:
            raise PrimitiveError(
                f"{one.name} uses {', '.join(sorted(foreign))}; a primitive may use its arguments, jax, jnp and other "
                "primitives, because its text is copied into the generated module"
            )
    return found
