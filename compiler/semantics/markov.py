"""Markov chains as states: a table of values and chances, and the expressions that they come down to."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import comb, sqrt

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import Diagnostic, Span, messages
from rbcc.compiler.schema import spec
from rbcc.compiler.semantics.context import Chain, Context
from rbcc.compiler.semantics.data_values import written_number
from rbcc.compiler.source import KeyPath, Sequence as List


MAX_VALUES = 30


def read_chain(context: Context, path: KeyPath, given: spec.Chain) -> Chain | None:
    """The chain that stands at `path`, or None after an error."""
    if given.rouwenhorst is not None:
        return _rouwenhorst(context, (*path, "rouwenhorst"), given.rouwenhorst)
    return _Reader(context, path).chain()


@dataclass(frozen=True)
class _Reader:
    context: Context
    path: KeyPath

    def report(self, finding: Diagnostic) -> None:
        self.context.diagnostics.add(finding)

    def numbers(self, key: str, *more: int) -> list[Fraction] | None:
        node = self.context.document.node((*self.path, key, *more))
        assert isinstance(node, List)
        if more and len(node.items) > MAX_VALUES:
            self.report(messages.chains.long_row(len(node.items), MAX_VALUES, node.span))
            return None
        numbers = [written_number(self.context, item) for item in node.items]
        return None if None in numbers else numbers  # type: ignore[return-value]

    def chain(self) -> Chain | None:
        given, rows = (self.context.document.node((*self.path, key)) for key in ("values", "transitions"))
        assert isinstance(given, List)
        assert isinstance(rows, List)
        count = len(given.items)
        if not 2 <= count <= MAX_VALUES:
            self.report(messages.chains.number_of_values(count, MAX_VALUES, given.span))
            return None
        if len(rows.items) != count:
            self.report(messages.chains.number_of_rows(count, len(rows.items), rows.span))
            return None
        values, chances = self.numbers("values"), [self.numbers("transitions", k) for k in range(count)]
        if values is None or None in chances:
            return None
        if len(set(values)) < count:
            self.report(messages.chains.value_twice(given.span))
            return None
        table: list[list[Fraction]] = chances  # type: ignore[assignment]
        wrong = [row for row, item in zip(table, rows.items, strict=True) if not self.sound(row, count, item.span)]
        if wrong:
            return None
        order = sorted(range(count), key=lambda k: values[k])
        return Chain(tuple(values[k] for k in order), tuple(tuple(table[k][m] for m in order) for k in order))

    def sound(self, row: Sequence[Fraction], count: int, span: Span) -> bool:
        """Whether a row holds chances that sum to 1."""
        total = sum(row)
        if len(row) != count:
            self.report(messages.chains.row_of_another_length(len(row), count, span))
        elif min(row) < 0:
            self.report(messages.chains.negative_chance(span))
        elif total != 1:
            self.report(messages.chains.sum_of_row(float(total), abs(total - 1) < Fraction(1, 100), span))
        else:
            return True
        return False


def _rouwenhorst(context: Context, path: KeyPath, given: spec.Rouwenhorst) -> Chain | None:
    """A chain with the mean, variance and autocorrelation asked for. Rouwenhorst (1995), Kopecky and Suen (2010).

    Its n values, equally spaced, tell how many of n - 1 trials succeed. Each trial gives the same in the next step with
    the chance (1 + persistence) / 2.
    """
    size = "shock" if given.shock is not None else "standard_deviation"
    keys = ["persistence", size, *(["mean"] if "mean" in given.model_fields_set else [])]
    written = [written_number(context, context.document.node((*path, key))) for key in keys]
    if None in written:
        return None
    persistence, deviation, mean = map(float, (*written, 0)[:3])  # type: ignore[arg-type]
    steps = given.states - 1
    limits = {
        "persistence": (abs(persistence) < 1, messages.chains.PERSISTENCE),
        size: (deviation > 1e-6 * abs(mean), messages.chains.deviation(above_zero=deviation > 0)),
        "states": (steps < MAX_VALUES, messages.chains.values_up_to(MAX_VALUES)),
    }
    for key, (fits, expected) in limits.items():
        if not fits:
            span = context.document.span((*path, key))
            context.diagnostics.add(messages.chains.outside_limits(key, getattr(given, key), span, expected))
            return None
    if size == "shock":
        deviation /= sqrt(1 - persistence**2)
    stay = (1 + Fraction(written[0] or 0)) / 2
    values = (mean + deviation * sqrt(steps) * (2 * k / steps - 1) for k in range(given.states))

    def chance(now: int, later: int) -> Fraction:
        """The chance that `later` trials succeed in the next step if `now` do in this one."""
        still = range(max(0, later - (steps - now)), min(now, later) + 1)
        return sum(
            (
                comb(now, k) * stay**k * (1 - stay) ** (now - k)
                * comb(steps - now, later - k) * (1 - stay) ** (later - k) * stay ** (steps - now - later + k)
                for k in still
            ),
            Fraction(0),
        )  # fmt: skip

    numbers = range(given.states)
    return Chain(tuple(map(_decimal, values)), tuple(tuple(chance(k, m) for m in numbers) for k in numbers))


def stationary(chain: Chain) -> list[float] | None:
    """The long-run share of each value, or None if it depends on the start.

    By elimination without subtractions: Grassmann, Taksar and Heyman (1985).
    """
    numbers = range(len(chain.values))
    reach = [{m for m in numbers if chain.transitions[k][m]} | {k} for k in numbers]
    for _ in numbers:
        reach = [set().union(*(reach[m] for m in reach[k])) for k in numbers]
    # A value is left for good if one that it leads to does not lead back.
    lasting = [k for k in numbers if all(k in reach[m] for m in reach[k])]
    if any(reach[k] != set(lasting) for k in lasting):
        return None
    chances = [[float(chain.transitions[k][m]) for m in lasting] for k in lasting]
    for k in reversed(range(1, len(lasting))):
        out = sum(chances[k][:k])
        for m in range(k):
            chances[m][k] /= out
            for n in range(k):
                chances[m][n] += chances[m][k] * chances[k][n]
    weights = [1.0]
    for k in range(1, len(lasting)):
        weights.append(sum(weights[m] * chances[m][k] for m in range(k)))
    shares = dict(zip(lasting, (weight / sum(weights) for weight in weights), strict=True))
    return [shares.get(k, 0.0) for k in numbers]


def following(chain: Chain, now: syntax.Expression) -> syntax.Expression:
    """The next value, drawn, as an expression in the value `now`."""
    span = now.span
    cumulative = [[sum(row[: k + 1]) for row in chain.transitions] for k in range(len(chain.values) - 1)]
    # The chances are those of the value that `now` is nearest to.
    between = [(a + b) / 2 for a, b in zip(chain.values, chain.values[1:], strict=False)]
    chances = [
        _number(column[0], span) if len(set(column)) == 1 else _steps(now, column, [_number(x, span) for x in between])
        for column in cumulative
    ]
    return _drawn(chain, chances, span)


def started(chain: Chain, shares: Sequence[float], span: Span) -> syntax.Expression:
    """A value, drawn with given chances."""
    return _drawn(chain, [_number(_decimal(total), span) for total in list(accumulate(shares))[:-1]], span)


def _drawn(chain: Chain, chances: Sequence[syntax.Expression], span: Span) -> syntax.Expression:
    return _steps(syntax.Call("uniform", (), span, span), chain.values, chances)


def _steps(
    x: syntax.Expression, values: Sequence[Fraction | int], starts: Sequence[syntax.Expression]
) -> syntax.Expression:
    """`steps(x, first value, first start, second value, ...)`."""
    span = x.span
    arguments = [x, _number(values[0], span)]
    for start, value in zip(starts, values[1:], strict=True):
        arguments += [start, _number(value, span)]
    return syntax.Call("steps", tuple(syntax.Argument(argument, None) for argument in arguments), span, span)


def _number(value: Fraction | int, span: Span) -> syntax.Expression:
    return syntax.Number(_decimal(float(value)), span)


def _decimal(value: float) -> Fraction:
    """The shortest decimal that is the same in double precision."""
    return Fraction(repr(float(value)))
