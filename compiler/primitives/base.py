import ast
import builtins
import inspect
import math
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from fractions import Fraction
from io import StringIO
from pathlib import Path
from string import Formatter
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from rbcc.compiler.ir.units import ONE, Unit
from rbcc.compiler.syntax import unit_of


_F = TypeVar("_F", bound=Callable[..., Any])

Domain = tuple[float | None, float | None]
"""An open interval of numbers; None where it has no end."""


class PrimitiveError(Exception):
    """A primitive that cannot be used, with the reason and, where known, the one-based place in its file."""

    def __init__(self, reason: str, line: int | None = None, column: int = 1):
        super().__init__(reason)
        self.line, self.column = line, column


@dataclass(frozen=True)
class UnitRule:
    """How units pass through a primitive, such as `"a, a -> a"` or `"any, 1 -> util"`.

    A single letter stands for any unit, the same wherever it occurs; `any` for a unit that does not matter; `1` for a
    pure number; longer names for base units. What stands before `...` may come again and again: `"a... -> a"`, or
    several in turn: `"a, b, (a, b)... -> b"`.
    """

    arguments: tuple[Unit | None, ...]
    repeated: tuple[Unit | None, ...]
    result: Unit
    text: str

    @staticmethod
    def parse(text: str) -> "UnitRule":
        try:
            left, arrow, right = text.partition("->")
            if not arrow:
                raise ValueError("it has no '->'")
            fixed, group = left.strip(), ""
            if fixed.endswith("..."):
                start = fixed.rfind("(") if fixed.endswith(")...") else fixed.rfind(",") + 1
                fixed, group = fixed[:start], fixed[start:].removesuffix("...").strip(" ()")
            arguments, repeated = (tuple(map(_pattern, _parts(part))) for part in (fixed, group))
            result = unit_of(right.strip())
        except ValueError as error:
            raise PrimitiveError(f"unit rule {text!r}: {error}; write for example 'a, 1 -> a'") from None
        known = {name for unit in (*arguments, *repeated) if unit is not None for name, _ in unit.powers}
        if unbound := [name for name, _ in result.powers if len(name) == 1 and name not in known]:
            raise PrimitiveError(f"unit rule {text!r}: the result has {unbound[0]}, which no argument has")
        return UnitRule(arguments, repeated, result, text)

    def fits(self, number: int) -> bool:
        """Whether so many arguments, two at least where some may be repeated, are right."""
        more = number - len(self.arguments)
        if not self.repeated:
            return more == 0
        return number >= 2 and more > 0 and more % len(self.repeated) == 0

    def apply(self, units: Sequence[Unit | None]) -> tuple[Unit | None, tuple[int, Unit] | None]:
        """The unit of the result, and the first argument that does not fit with the unit it needed.

        A unit of None is unknown: it fits everywhere, and makes the result unknown where the result depends on it.
        """
        bound: dict[str, Unit | None] = {}
        patterns = self.arguments + self.repeated * len(units)
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

    def shared(self, units: Sequence[Unit | None], position: int) -> Unit | None:
        """The unit that the argument at a position needs because others have it; None if nothing says so."""
        pattern = (self.arguments + self.repeated * len(units))[position]
        letter = _letter(pattern) if pattern is not None else None
        patterns = zip(self.arguments + self.repeated * len(units), units, strict=False)
        others = [(_letter(other), unit) for other, unit in patterns if other is not None and unit is not None]
        bound = [unit ** (1 / own[1]) for own, unit in others if own and letter and own[0] == letter[0]]
        return bound[0] ** letter[1] if letter and bound else None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pattern(text: str) -> Unit | None:
    return None if text == "any" else unit_of(text)


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
    `latex` is a template with the arguments in braces. The last `optional` arguments have defaults and may be left out;
    `rest` is the name of the one that takes all further arguments. `domain` has, for some arguments, an open interval
    in which the result and its derivatives are finite, None for an end that it lacks. It was declared in `file`, at
    `line`.
    """

    name: str
    arguments: tuple[str, ...]
    units: UnitRule
    latex: str | None
    text: str
    doc: str
    file: str
    line: int
    inline: str | None = None
    flag: bool = False
    optional: int = 0
    rest: tuple[str, ...] = ()
    domain: Mapping[str, Domain] = field(default_factory=dict)

    @property
    def variadic(self) -> bool:
        return bool(self.units.repeated)

    def takes(self, number: int) -> bool:
        """Whether it can be called with so many arguments."""
        return any(self.units.fits(number + left_out) for left_out in range(self.optional + 1))

    @property
    def calls(self) -> set[str]:
        """The global names that the definition reads."""
        tree = ast.parse(self.text)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} - {self.name}
        return {node.id for node in names if isinstance(node.ctx, ast.Load)} - own


def primitive(
    *,
    units: str,
    latex: str | None = None,
    inline: str | None = None,
    flag: bool = False,
    domain: Mapping[str, Domain] = MappingProxyType({}),
) -> Callable[[_F], _F]:
    """Declares a function of the spec language.

    ```python
    from rbcc import primitive

    @primitive(units="a, a -> util", latex=r"\\log({c} - {floor})")
    def stone_geary(c, floor):
        return jnp.log(c - floor)
    ```

    `units` is a unit rule (see `UnitRule`). The function works element by element on arrays that are already aligned
    with each other; JAX differentiates it. `domain` says in which open intervals of its arguments the result and its
    derivatives are finite, such as `{"x": (0, None)}`: where a condition of the spec rejects the result, arguments that
    may lie outside are replaced by others, because JAX differentiates what is rejected, too. Raises PrimitiveError if
    the rule cannot be read, does not fit the arguments, or if the function uses a name that the generated module will
    not have.
    """

    def declare(function: _F) -> _F:
        rule = UnitRule.parse(units)
        name = function.__name__
        found = inspect.signature(function).parameters.values()
        arguments = tuple(one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD))
        rest = tuple(one.name for one in found if one.kind is one.VAR_POSITIONAL)
        if any(one.kind in (one.KEYWORD_ONLY, one.VAR_KEYWORD) for one in found):
            raise PrimitiveError(f"{name} has arguments that only keywords can give; specs write f(x, y)")
        if not rule.repeated and len(rule.arguments) != len(arguments):
            raise PrimitiveError(
                f"{name} has {len(arguments)} arguments, its unit rule {units!r} has {len(rule.arguments)}"
            )
        if latex is not None:
            _check_latex(name, latex, (*arguments, *rest))
        _check_domain(name, domain, arguments)
        text, code = _definition(function) if inline is None else "", function.__code__
        function.primitive = Primitive(  # type: ignore[attr-defined]
            name, arguments, rule, latex, text, inspect.getdoc(function) or "", code.co_filename, code.co_firstlineno,
            inline, flag, sum(one.default is not one.empty for one in found), rest, domain,
        )  # fmt: skip
        return function

    return declare


def _check_domain(name: str, domain: Mapping[str, Domain], arguments: Sequence[str]) -> None:
    """Raises PrimitiveError unless `domain` has an interval with something in it for some of the arguments."""
    for argument, interval in domain.items():
        if argument not in arguments:
            raise PrimitiveError(f"{name}: domain has {argument!r}; its arguments are {', '.join(arguments)}")
        if not _is_interval(interval):
            raise PrimitiveError(
                f"{name}: domain[{argument!r}] is {interval!r}; write (low, high), None where there is no end"
            )


def _is_interval(given: object) -> bool:
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    ends = [end for end in given if end is not None]
    return all(isinstance(end, (int, float)) and math.isfinite(end) for end in ends) and sorted(set(ends)) == ends


def _check_latex(name: str, latex: str, arguments: Sequence[str]) -> None:
    """Raises PrimitiveError unless `latex` is one line with balanced braces that has the arguments as its fields."""
    try:
        parts = list(Formatter().parse(latex))
    except ValueError as error:
        raise PrimitiveError(f"{name}: latex={latex!r}: {error}; braces that are LaTeX's own are doubled") from None
    for _, key, style, conversion in parts:
        if key is not None and (key not in arguments or style or conversion):
            raise PrimitiveError(f"{name}: latex={latex!r} has {{{key}}}; its arguments are {', '.join(arguments)}")
    literals = "".join(literal for literal, *_ in parts)
    if literals.count("{") != literals.count("}") or not latex.isprintable():
        raise PrimitiveError(f"{name}: latex={latex!r} must be one line with as many }} as {{")


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
    """Runs a Python file and returns the primitives it declares. What it prints goes to the standard error output.

    Raises PrimitiveError if it cannot be run, declares none, or declares one that is not self-contained.
    """
    module = ModuleType(f"rbcc_use_{path.stem}")
    module.__file__ = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        sys.modules[module.__name__] = module  # inspect.getsource finds the text through it
        with _apart():
            exec(compile(text, str(path), "exec"), vars(module))
    except SyntaxError as error:
        raise PrimitiveError(f"SyntaxError: {error.msg}", error.lineno, error.offset or 1) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a file that is used ends no program
        reason = str(error) if isinstance(error, PrimitiveError) else said(error)
        raise PrimitiveError(reason, _line_in(path, error)) from error
    found = primitives_in(vars(module))
    if not found:
        raise PrimitiveError("it declares no primitive; decorate a function with @primitive(units=...)")
    lines = {one.name: one.line for one in found.values() if one.file == str(path)}
    callable_ = {name for name, one in {**known, **found}.items() if one.inline is None}
    for one in found.values():
        line = lines.get(one.name)
        if one.name in known:
            raise PrimitiveError(f"{one.name} is a function of the language already; give yours another name", line)
        if one.inline is not None:
            raise PrimitiveError(f"{one.name}: 'inline' is for functions of the language itself", line)
        if foreign := one.calls - {*callable_, "jax", "jnp", *dir(builtins)}:
            raise PrimitiveError(
                f"{one.name} uses {', '.join(sorted(foreign))}; a primitive may use its arguments, jax, jnp and other "
                "primitives, because its text is copied into the generated module",
                line,
            )
    return found


def said(error: BaseException) -> str:
    """The type of an error and the first line of its message, if it has one that can be read."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # of an exception of the user's own even this may fail
        lines = []
    return ": ".join([type(error).__name__, *lines[:1]])


@contextmanager
def _apart() -> Iterator[None]:
    """While a user's file runs: it may print, change the folder and close the output, and all that ends with it."""
    folder, printed = os.getcwd(), StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        os.chdir(folder)
        if not printed.closed:
            sys.stderr.write(printed.getvalue())


def _line_in(path: Path, error: BaseException) -> int | None:
    """The last line of the file at `path` that was running when `error` was raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None
