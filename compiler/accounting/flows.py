"""Flow tables of accounts: what the equations take from one stock comes to another, or is declared.

Every stock of an account is a column of terms: those of the equation of its next value. Terms that add up to nothing
over all columns are a flow, and a row. In what is left values are replaced by their equations, the last first, until
that adds up to nothing too; so a flow is found where both sides first speak of the same.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

from rbcc.compiler import ir
from rbcc.compiler.accounting.algebra import Algebra, Product, Sum, TooLarge, renaming, set_of
from rbcc.compiler.accounting.divide import reduced
from rbcc.compiler.accounting.show import label, shown


OUTSIDE = "the outside"  # no agent type can be called that


@dataclass(frozen=True)
class Term:
    """The term with the number `place` of those that the equation of `symbol` adds up; None for the stock itself."""

    symbol: str
    place: int | None


@dataclass(frozen=True)
class Row:
    """A flow: how often each column gains `amount`, in the order of the columns; together nothing."""

    name: str
    amount: str
    gains: tuple[Fraction, ...]


@dataclass(frozen=True)
class Loose:
    """What a column gains, or else loses, and no other column loses or gains; it comes from `term`."""

    column: str
    name: str
    amount: str
    gain: bool
    term: Term


@dataclass(frozen=True)
class Missing:
    """A declared flow, or the part `amount` of it, that the equations do not have; `instead` is what they do have.

    `instead` is what all stocks gain, with a minus sign if they lose it.
    """

    flow: ir.Flow
    amount: str
    instead: str | None


@dataclass(frozen=True)
class FlowTable:
    """The flows of an account in a step; `titles` says whose each of its stocks is.

    Rows among its columns come before those with the outside, which is the last. Without `loose` and `missing` flows it
    is proved that the account balances, for all states, choices, draws and parameters. `gave_up`: the equations take
    too much work, and nothing is known.
    """

    account: ir.Account
    titles: tuple[str, ...]
    passing: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    loose: tuple[Loose, ...] = ()
    missing: tuple[Missing, ...] = ()
    gave_up: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Who holds each stock, who passes on, and all else."""
        return tuple(dict.fromkeys((*self.titles, *self.passing, OUTSIDE)))

    @property
    def proved(self) -> bool:
        return not (self.loose or self.missing or self.gave_up)


def flow_tables(model: ir.Model) -> tuple[FlowTable, ...]:
    """The flows of every account, and what keeps it from balancing."""
    algebra = Algebra(model)
    return tuple(_Balance(model, account, algebra).table() for account in model.accounts)


@dataclass(frozen=True)
class _Part:
    """How often a column gains a product, the amount that this was before it was taken apart, where it comes from."""

    coefficient: Fraction
    amount: Sum
    sources: tuple[Term | ir.Flow, ...]

    @property
    def declared(self) -> bool:
        return any(isinstance(source, ir.Flow) for source in self.sources)

    @property
    def whole(self) -> bool:
        """Whether it is a stock or a value as such, and no term of an equation."""
        return any(isinstance(source, Term) and source.place is None for source in self.sources)


_Column = dict[Product, _Part]


@dataclass
class _State:
    columns: dict[str, _Column]
    rows: list[Row] = field(default_factory=list)
    found: set[ir.Flow] = field(default_factory=set)

    def rest(self) -> dict[Product, dict[str, _Part]]:
        """What has not become a row, by product and column."""
        found: dict[Product, dict[str, _Part]] = {}
        for name, column in self.columns.items():
            for product, part in column.items():
                found.setdefault(product, {})[name] = part
        return found


class _Balance:
    def __init__(self, model: ir.Model, account: ir.Account, algebra: Algebra):
        self.model, self.account, self.algebra = model, account, algebra
        self.passing = {_reference(value).symbol for _, value in account.through}

    def table(self) -> FlowTable:
        blank = FlowTable(self.account, self.titles(), tuple(name for name, _ in self.account.through))
        try:
            state, steps = self.solve(set(self.algebra.order))
            if state.rest():
                state = self.coarsest(state, steps)
        except TooLarge:
            return replace(blank, gave_up=True)
        loose, missing = self.findings(state)
        declared = {flow.name: place for place, flow in enumerate(self.account.flows, start=1)}
        rows = sorted(state.rows, key=lambda row: declared[row.name] if row.gains[-1] else 0)
        return replace(blank, rows=tuple(rows), loose=loose, missing=missing)

    def coarsest(self, state: _State, steps: list[tuple[str, int]]) -> _State:
        """What is left where the least is, with values kept whole that can be, so that authors see their own words."""
        least = min(rest for _, rest in steps)
        last = next(number for number, (_, rest) in enumerate(steps) if rest == least)
        expanded = {symbol for symbol, _ in steps[: last + 1]}
        with suppress(TooLarge):
            state, _ = self.solve(expanded)
            for symbol, _ in reversed(steps[: last + 1]):
                trial, _ = self.solve(expanded - {symbol})
                if len(trial.rest()) <= least:
                    state, expanded = trial, expanded - {symbol}
        return state

    def solve(self, expanded: set[str]) -> tuple[_State, list[tuple[str, int]]]:
        """Rows, and what is left when `expanded` values are; also each in turn, with how much was left after it."""
        state, steps = _State(self.columns()), [("", 0)]
        while True:
            self.match(state)
            steps[-1] = (steps[-1][0], len(state.rest()))
            symbols = {name for column in state.columns.values() for product in column for name in product.symbols}
            symbol = self.algebra.latest((symbols & expanded) - self.passing)
            if symbol is None:
                return state, steps
            steps.append((symbol, 0))
            state.columns = {name: self.expand(column, symbol) for name, column in state.columns.items()}

    # --- columns -----------------------------------------------------------------------------------------------

    def titles(self) -> tuple[str, ...]:
        """The names of the columns of all stocks: their owners, where these have only one."""
        symbols = [self.model.symbol(name) for name in self.account.symbols]
        owners = [symbol.owner for symbol in symbols]
        return tuple(s.owner if s.owner and owners.count(s.owner) == 1 else s.name for s in symbols)

    def columns(self) -> dict[str, _Column]:
        found: dict[str, _Column] = {}
        for title, stock in zip(self.titles(), self.account.stocks, strict=True):
            own = found.setdefault(title, {})
            _add(own, self.algebra.sum_of(ir.change(stock)), (Term(_reference(stock).symbol + "'", None),))
        for title, value in self.account.through:
            own, symbol = found.setdefault(title, {}), _reference(value).symbol
            whole = self.algebra.sum_of(value)
            for product, coefficient in whole.terms.items():
                for piece, place in self.pieces(product, symbol):
                    _add(own, piece, (Term(symbol, place),), coefficient)
            _add(own, whole, (Term(symbol, None),), Fraction(-1))
        outside = found.setdefault(OUTSIDE, {})
        for flow in self.account.flows:
            _add(outside, self.algebra.sum_of(flow.expression), (flow,), Fraction(-1 if flow.source else 1))
        return found

    def expand(self, column: _Column, symbol: str) -> _Column:
        """A column with the equation of `symbol` in its place."""
        found: _Column = {}
        for product, part in column.items():
            pieces = list(self.pieces(product, symbol)) if symbol in product.symbols else []
            if not pieces:
                _merge(found, product, part)
            single = sum(len(piece.terms) for piece, _ in pieces) == 1
            for piece, place in pieces:
                for new, coefficient in piece.terms.items():
                    gain = part.coefficient * coefficient
                    if single and not part.whole:
                        _merge(found, new, _Part(gain, part.amount, part.sources))
                    elif place is None or part.declared:
                        _merge(found, new, _Part(gain, Sum({new: gain}), part.sources))
                    else:
                        _merge(found, new, _Part(gain, Sum({new: gain}), (Term(symbol, place),)))
        return self.divided(found)

    def pieces(self, product: Product, symbol: str) -> Iterator[tuple[Sum, int | None]]:
        """A product with the equation of `symbol` in its place: term by term, or as a whole (None) where it is not
        added up."""
        algebra = self.algebra
        own = [atom for atom, power in product.factors if atom.kind == "value" and atom.name == symbol and power == 1]
        rest = [(atom, power) for atom, power in product.factors if atom not in own]
        if (
            len(own) != 1
            or any(symbol in atom.symbols for atom, _ in rest)
            or any(symbol in index.symbols for index in own[0].indices if not isinstance(index, str))
        ):
            yield algebra.expand(Sum({product: Fraction(1)}), symbol), None
            return
        names = {variable: algebra.fresh(set_of(variable)) for variable in product.bound}
        indices = tuple(algebra.rebuilt_index(index, renaming(names), None) for index in own[0].indices)
        factor = algebra.moved_factors(rest, names)
        for place, term in enumerate(algebra.terms_of(symbol)):
            yield algebra.total(algebra.multiply(factor, algebra.at(symbol, term, indices)), names.values()), place

    def divided(self, column: _Column) -> _Column:
        """A column in which shares of a whole have been added up to it."""
        before = Sum({product: part.coefficient for product, part in column.items()})
        after = reduced(self.algebra, before)
        if after is before:
            return column
        gone = next(part for product, part in column.items() if after.terms.get(product) != part.coefficient)
        return {
            product: column[product]
            if before.terms.get(product) == coefficient
            else _Part(coefficient, Sum({product: coefficient}), gone.sources)
            for product, coefficient in after.terms.items()
        }

    # --- rows and what is left ---------------------------------------------------------------------------------

    def match(self, state: _State) -> None:
        """Moves what adds up to nothing over all columns into rows."""
        for product, parts in state.rest().items():
            if sum(part.coefficient for part in parts.values()):
                continue
            state.rows.append(self.row(list(state.columns), parts))
            state.found.update(s for part in parts.values() for s in part.sources if isinstance(s, ir.Flow))
            for name in parts:
                del state.columns[name][product]

    def row(self, columns: list[str], parts: dict[str, _Part]) -> Row:
        flow = next((s for part in parts.values() for s in part.sources if isinstance(s, ir.Flow)), None)
        named = [part for part in parts.values() if _named(part.amount)]
        part = parts[OUTSIDE] if flow is not None else (named or list(parts.values()))[0]
        whole = flow is not None and len(part.amount.terms) == len(self.algebra.sum_of(flow.expression).terms)
        name = flow.name if flow is not None else self.label(part.amount)
        amount = flow.text if flow and whole else self.shown(part.amount)
        size = abs(part.coefficient)
        gains = (parts[column].coefficient / size if column in parts else Fraction(0) for column in columns)
        return Row(name, amount, tuple(gains))

    def findings(self, state: _State) -> tuple[tuple[Loose, ...], tuple[Missing, ...]]:
        loose: list[Loose] = []
        missing: dict[ir.Flow, Missing] = {}
        for product, parts in state.rest().items():
            declared = parts.pop(OUTSIDE, None)
            gain = sum((part.coefficient for part in parts.values()), Fraction(0))
            if declared is not None:
                instead = shown(self.model, Sum({product: gain})) if gain else None
                for flow in (source for source in declared.sources if isinstance(source, ir.Flow)):
                    missing.setdefault(flow, Missing(flow, self.shown(declared.amount), instead))
                continue
            column, part = max(parts.items(), key=lambda pair: abs(pair[1].coefficient))
            amount = part.amount if len(parts) == 1 else Sum({product: gain})
            term = next(source for source in part.sources if isinstance(source, Term))
            loose.append(Loose(column, self.label(amount), self.shown(amount), gain > 0, term))
        for flow in self.account.flows:
            if flow not in state.found and flow not in missing:
                missing[flow] = Missing(flow, flow.text, None)
        return tuple(loose), tuple(missing.values())

    def label(self, amount: Sum) -> str:
        return label(self.model, next(iter(amount.terms)))

    def shown(self, amount: Sum) -> str:
        """An amount, whatever its sign."""
        return shown(self.model, Sum({product: abs(c) for product, c in amount.terms.items()}))


def _reference(node: ir.Expression) -> ir.Reference:
    """The state or value that an entry of an account is, or is the sum of."""
    return next(inner for inner in ir.walk(node) if isinstance(inner, ir.Reference))


def _named(amount: Sum) -> bool:
    """Whether an amount is the sum of a single symbol."""
    return all(product.value is not None for product in amount.terms)


def _add(column: _Column, whole: Sum, sources: tuple[Term | ir.Flow, ...], factor: Fraction = Fraction(1)) -> None:
    for product, coefficient in whole.terms.items():
        gain = factor * coefficient
        _merge(column, product, _Part(gain, Sum({product: gain}), sources))


def _merge(column: _Column, product: Product, part: _Part) -> None:
    known = column.get(product)
    if known is None:
        column[product] = part
        return
    gain = known.coefficient + part.coefficient
    if gain:
        column[product] = _Part(gain, Sum({product: gain}), (*known.sources, *part.sources))
    else:
        del column[product]
