"""The order of axes: that of indices in types, and that in which arrays are stored."""

from collections.abc import Iterable

from rbcc.compiler.ir.program import Model, Symbol


def merge_axes(*axes: Iterable[str]) -> tuple[str, ...]:
    """All indices, each once, in the order in which they come first."""
    return tuple(dict.fromkeys(index for indices in axes for index in indices))


def layout(model: Model, symbol: Symbol) -> tuple[int, ...]:
    """The positions of a symbol's indices in the order in which its array has them: the largest agent type last."""
    return tuple(sorted(range(len(symbol.sets)), key=lambda k: (model.count(symbol.sets[k]), k)))
