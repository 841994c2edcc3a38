"""Functions of a spec's own, tried out before they run: a mistake is told where it stands in the user's file."""

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostics, Label, Source, Span
from rbcc.compiler.driver import Compiled
from rbcc.compiler.primitives import BUILTIN, said


SHAPES = (), (2,)
"""Of the arguments with which a function is tried: it works element by element, on arrays of any shape."""


@dataclass(frozen=True)
class _Mistake:
    """What is wrong with a function, in which line of the generated module, from which character to which."""

    reason: str
    line: int
    start: int
    end: int


def check_primitives(compiled: Compiled, module: ModuleType) -> None:
    """Calls each function of the spec's own, as the generated `module` has it, with the literals that the spec gives it
    and arrays for all other arguments.

    Nothing is computed: JAX only follows what would be. Raises CompileError if a call fails, or gives something other
    than an array of real numbers with the shape of its arguments.
    """
    own = {one.name: one for one in compiled.model.primitives if one.name not in BUILTIN}
    if not own:
        return
    calls = {
        (node.function, tuple(float(a.value) if isinstance(a, ir.Constant) else None for a in node.arguments))
        for root in ir.expressions(compiled.model)
        for node in ir.walk(root)
        if isinstance(node, ir.Apply) and node.function in own
    }
    diagnostics = Diagnostics()
    wrong: set[str] = set()
    for name, literals in sorted(calls, key=str):
        mistakes = (_mistake(getattr(module, name), literals, shape) for shape in SHAPES)
        mistake = next((one for one in mistakes if one), None)
        if mistake and name not in wrong:
            wrong.add(name)
            span, label = _place(compiled, own, module, mistake)
            diagnostics.error("RB008", f"{name}: {mistake.reason}", span, labels=(label,))
    diagnostics.raise_if_failed()


def _mistake(function: Callable[..., Any], literals: Sequence[float | None], shape: tuple[int, ...]) -> _Mistake | None:
    """What is wrong with a call of `function` with `literals`, and arrays of `shape` in place of None, if anything."""
    code, results = function.__code__, []

    def call(*arrays: jax.Array) -> jax.Array:
        rest = iter(arrays)
        result = function(*(next(rest) if literal is None else literal for literal in literals))
        results.append(result)
        return jnp.asarray(result) if _is_number(result) else jnp.zeros(())

    def wrong(reason: str) -> _Mistake:
        return _Mistake(reason, code.co_firstlineno, 0, 0)

    try:
        traced = jax.eval_shape(call, *[jax.ShapeDtypeStruct(shape, float)] * literals.count(None))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: no function of a model ends the program
        frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == code.co_filename]
        last = frames[-1] if frames else None
        if last is None or last.lineno is None:
            return wrong(said(error))
        return _Mistake(said(error), last.lineno, last.colno or 0, last.end_colno or 0)
    if not _is_number(results[0]):
        return wrong(f"its result is of the type {type(results[0]).__name__}, not an array of numbers")
    if jnp.issubdtype(traced.dtype, jnp.complexfloating):
        return wrong("its result is complex")
    if None in literals and hasattr(results[0], "shape") and traced.shape != shape:
        return wrong(
            f"its result has the shape {traced.shape} where its arguments have {shape}; it has to work element by element"
        )
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (jax.Array, np.ndarray, np.generic, bool, int, float, complex))


def _place(
    compiled: Compiled, own: dict[str, ir.PrimitiveSource], module: ModuleType, mistake: _Mistake
) -> tuple[Span, Label]:
    """Where a mistake stands in the file that its function was copied from, and where the spec names the file."""
    starts = {name: getattr(module, name).__code__.co_firstlineno for name in own}
    name = max((name for name in own if starts[name] <= mistake.line), key=starts.__getitem__)
    definition = re.compile(rf"^([ \t]*)def {re.escape(name)}\b", re.MULTILINE)
    files = [(path, file) for path, file in compiled.document.files.items() if path[0] == "use"]
    texts = ((path, Source(str(file), file.read_text(encoding="utf-8-sig"))) for path, file in files)
    path, source, found = next((p, s, f) for p, s in texts if (f := definition.search(s.text)))
    first, _ = source.position(found.start())
    start = source.offset(first - 1 + mistake.line - starts[name], len(found[1]) + mistake.start)
    span = Span(source, start, start + max(1, mistake.end - mistake.start))
    return span, Label(compiled.document.span(path), "the file is named at")
