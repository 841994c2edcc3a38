from rbcc.compiler import ir


def layout(model: ir.Model, symbol: ir.Symbol) -> tuple[int, ...]:
    """The positions of a symbol's indices in the order in which its array has them: the largest agent type last."""
    return tuple(sorted(range(len(symbol.sets)), key=lambda k: (model.count(symbol.sets[k]), k)))
