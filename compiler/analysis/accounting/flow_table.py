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
from rbcc.compiler.analysis.accounting.normal_form import (
    Algebra,
    Product,
    Sum,
    TooLarge,
    additive_terms,
    renaming,
    set_of,
    times,
)
from rbcc.compiler.analysis.accounting.polynomial_division import reduced
from rbcc.compiler.analysis.accounting.pretty import label, shown
from rbcc.compiler.ir.types import Kind, Role


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
    is proved that the account balances, for all states, choices, draws and parameters. `left` is the number of amounts
    that do not add up to nothing, as far as can be seen. `gave_up`: it could not be proved, for the equations take too
    much work or other algebra; then `refuted` says that random numbers show the account to be wrong.
    """

    account: ir.Account
    titles: tuple[str, ...]
    passing: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    loose: tuple[Loose, ...] = ()
    missing: tuple[Missing, ...] = ()
    left: int = 0
    gave_up: bool = False
    refuted: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Who holds each stock, who passes on, and all else."""
        return tuple(dict.fromkeys((*self.titles, *self.passing, OUTSIDE)))

    @property
    def doubtful(self) -> bool:
        """Whether random numbers may tell more: several amounts that are left over may still add up to nothing, and
        what declared flows are made of need not be what is wrong with them."""
        return self.gave_up or self.left > 1 or any(one.amount != one.flow.text for one in self.missing)

    @property
    def proved(self) -> bool:
        return not (self.loose or self.missing or self.gave_up)


def flow_tables(model: ir.Model) -> tuple[FlowTable, ...]:
    """The flows of every account, and what keeps it from balancing."""
    algebra = Algebra(model)
    balances = [_Balance(model, account, algebra) for account in model.accounts]
    tables = [balance.table() for balance in balances]
    doubtful = {b.account.name: b.suspects() for b, table in zip(balances, tables, strict=True) if table.doubtful}
    if not doubtful:
        return tuple(tables)
    from rbcc.compiler.analysis.accounting.randomized_check import (
        trials,  # it needs the emitter, which is long to import
    )

    found = trials(model, {name: [s.amount for s in parts] for name, parts in doubtful.items()})
    for place, (balance, table) in enumerate(zip(balances, tables, strict=True)):
        trial = found.get(table.account.name)
        if trial is not None and trial.balances:
            tables[place] = replace(table, rows=(), loose=(), missing=(), gave_up=True)
        elif trial is not None and trial.balances is False:
            tables[place] = balance.refuted(table, [doubtful[table.account.name][k] for k in trial.explained_by])
    return tuple(tables)


@dataclass(frozen=True)
class _Suspect:
    """What the stocks of an account may gain too much: a term of an equation, or what is lacking of a flow or stock."""

    amount: ir.Expression
    column: str
    term: Term | None = None
    flow: ir.Flow | None = None


@dataclass(frozen=True)
class _Part:
    """How often a column gains a product, and the amount that this was before it was taken apart.

    It comes from `terms` of equations, or from declared `flows`, by their numbers.
    """

    coefficient: Fraction
    amount: Sum
    terms: tuple[Term, ...] = ()
    flows: frozenset[int] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether it is a stock or a value as such, and no term of an equation."""
        return any(term.place is None for term in self.terms)


_Column = dict[Product, _Part]


@dataclass
class _State:
    """What is left, the rows with the declared flows in them, and which of these flows have a product in common."""

    columns: dict[str, _Column]
    together: dict[int, frozenset[int]]
    rows: list[tuple[frozenset[int], Row]] = field(default_factory=list)

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
        self.together: dict[int, frozenset[int]] = {}

    def table(self) -> FlowTable:
        blank = FlowTable(self.account, self.titles(), tuple(name for name, _ in self.account.through))
        try:
            state, steps = self.solve(set(self.algebra.order))
            if state.rest():
                state = self.coarsest(state, steps)
        except TooLarge:
            return replace(blank, gave_up=True)
        loose, missing = self.findings(state)
        rows = tuple(self.rows(state))
        return replace(blank, rows=rows, loose=loose, missing=missing, left=len(state.rest()))

    def coarsest(self, state: _State, steps: list[tuple[str, int]]) -> _State:
        """What is left where the least is, with values kept whole that can be, so that authors see their own words.

        Next values of stocks are not kept: that one is not what it was is not news.
        """
        roots = {_reference(stock).symbol + "'" for stock in self.account.stocks}
        first = max((number for number, (symbol, _) in enumerate(steps) if symbol in roots), default=0)
        least = min(rest for _, rest in steps[first:])
        last = next(number for number, (_, rest) in enumerate(steps) if number >= first and rest == least)
        expanded = {symbol for symbol, _ in steps[: last + 1]}
        with suppress(TooLarge):
            state, _ = self.solve(expanded)
            for symbol in (symbol for symbol, _ in reversed(steps[: last + 1]) if symbol not in roots):
                trial, _ = self.solve(expanded - {symbol})
                if len(trial.rest()) <= least:
                    state, expanded = trial, expanded - {symbol}
        return state

    def solve(self, expanded: set[str]) -> tuple[_State, list[tuple[str, int]]]:
        """Rows, and what is left when `expanded` values are; also each in turn, with how much was left after it."""
        self.together = {number: frozenset([number]) for number in range(len(self.account.flows))}
        state, steps = _State(self.columns(), self.together), [("", 0)]
        while True:
            self.match(state)
            steps[-1] = (steps[-1][0], len(state.rest()))
            symbols = {name for column in state.columns.values() for product in column for name in product.symbols}
            symbol = self.algebra.latest((symbols & expanded) - self.passing)
            if symbol is None:
                return state, steps
            steps.append((symbol, 0))
            state.columns = {name: self.expand(column, symbol) for name, column in state.columns.items()}

    # --- what random numbers say -------------------------------------------------------------------------------

    def suspects(self) -> list[_Suspect]:
        """All that may be wrong: declared flows, stocks that are not carried over, terms of equations, other values."""
        found = [_Suspect(_signed(f.expression, -1 if f.source else 1), "", None, f) for f in self.account.flows]
        seen: set[str] = set()
        through = {_reference(value).symbol: name for name, value in self.account.through}
        for title, stock in zip(self.titles(), self.account.stocks, strict=True):
            root = _reference(stock).symbol + "'"
            found.append(_Suspect(_signed(stock, -1), title, Term(root, None)))
            pending = [root]
            while pending:
                symbol = pending.pop()
                if symbol in seen or symbol not in self.algebra.definitions:
                    continue
                seen.add(symbol)
                definition = self.algebra.definitions[symbol]
                for place, (sign, node) in enumerate(additive_terms(definition.expression)):
                    amount = _signed(self.over_all(node, definition.indices), sign)
                    found.append(_Suspect(amount, through.get(symbol, title), Term(symbol, place)))
                    pending += sorted(ir.references(node))
        if len(self.account.stocks) == 1:
            title, root = self.titles()[0], _reference(self.account.stocks[0]).symbol + "'"
            for value in self.model.equations:
                symbol = self.model.symbol(value.symbol)
                if symbol.role is Role.VALUE and symbol.name not in seen and symbol.type.kind is Kind.NUMBER:
                    whole = self.over_all(ir.Reference(symbol.name, value.indices, symbol.type), value.indices)
                    found += [_Suspect(_signed(whole, sign), title, Term(root, 0)) for sign in (1, -1)]
        return found

    def over_all(self, node: ir.Expression, indices: tuple[str, ...]) -> ir.Expression:
        """The sum of a term over all agents, but for those that the account is kept for."""
        over = tuple(index for index in indices if index not in self.account.indices)
        axes = tuple(axis for axis in node.type.axes if axis not in over)
        return ir.Reduce("sum", over, None, node, replace(node.type, kind=Kind.NUMBER, axes=axes)) if over else node

    def refuted(self, table: FlowTable, suspects: list[_Suspect]) -> FlowTable:
        """The table of an account that is wrong, with the first of `suspects`, each of which explains it."""
        table = replace(table, refuted=table.gave_up)
        for suspect in suspects[:1]:
            if suspect.flow is not None:
                return replace(table, loose=(), missing=(Missing(suspect.flow, suspect.flow.text, None),))
            assert suspect.term is not None
            self.algebra = Algebra(self.model)
            with suppress(TooLarge):
                whole = self.algebra.sum_of(suspect.amount)
                gain = all(coefficient > 0 for coefficient in whole.terms.values())
                found = Loose(suspect.column, self.label(whole), self.shown(whole), gain, suspect.term)
                return replace(table, loose=(found,), missing=())
        return table

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
            self.add(own, self.algebra.sum_of(ir.change(stock)), Term(_reference(stock).symbol + "'", None))
        for title, value in self.account.through:
            own, symbol = found.setdefault(title, {}), _reference(value).symbol
            whole = self.algebra.sum_of(value)
            for product, coefficient in whole.terms.items():
                for piece, place in self.pieces(product, symbol):
                    self.add(own, times(coefficient, piece), Term(symbol, place))
            self.add(own, times(-1, whole), Term(symbol, None))
        outside = found.setdefault(OUTSIDE, {})
        for number, flow in enumerate(self.account.flows):
            whole = times(-1 if flow.source else 1, self.algebra.sum_of(flow.expression))
            for product, gain in whole.terms.items():
                self.merge(outside, product, _Part(gain, Sum({product: gain}), flows=frozenset([number])))
        return found

    def add(self, column: _Column, whole: Sum, term: Term) -> None:
        for product, gain in whole.terms.items():
            self.merge(column, product, _Part(gain, Sum({product: gain}), (term,)))

    def merge(self, column: _Column, product: Product, part: _Part) -> None:
        known = column.pop(product, None)
        if known is None:
            column[product] = part
            return
        if known.flows and part.flows:
            self.join(known.flows | part.flows)
        gain = known.coefficient + part.coefficient
        if gain:
            flows = known.flows | part.flows
            column[product] = _Part(gain, Sum({product: gain}), known.terms + part.terms, flows)

    def join(self, flows: frozenset[int]) -> None:
        """Notes that declared flows have a product in common."""
        group = frozenset[int]().union(*(self.together[number] for number in flows))
        self.together.update(dict.fromkeys(group, group))

    def expand(self, column: _Column, symbol: str) -> _Column:
        """A column with the equation of `symbol` in its place."""
        found: _Column = {}
        for product, part in column.items():
            pieces = list(self.pieces(product, symbol)) if symbol in product.symbols else []
            if not pieces:
                self.merge(found, product, part)
            single = sum(len(piece.terms) for piece, _ in pieces) == 1
            for piece, place in pieces:
                for new, coefficient in piece.terms.items():
                    gain = part.coefficient * coefficient
                    amount, terms = Sum({new: gain}), part.terms
                    if single and not part.whole:
                        amount = part.amount
                    elif place is not None and not part.flows:
                        terms = (Term(symbol, place),)
                    self.merge(found, new, _Part(gain, amount, terms, part.flows))
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
        found, gone = {}, [part for product, part in column.items() if after.terms.get(product) != part.coefficient]
        terms = tuple(term for part in gone for term in part.terms)
        flows = frozenset(number for part in gone for number in part.flows)
        self.join(flows)
        for product, gain in after.terms.items():
            same = before.terms.get(product) == gain
            found[product] = column[product] if same else _Part(gain, Sum({product: gain}), terms, flows)
        return found

    # --- rows and what is left ---------------------------------------------------------------------------------

    def match(self, state: _State) -> None:
        """Moves what adds up to nothing over all columns into rows."""
        for product, parts in state.rest().items():
            if sum(part.coefficient for part in parts.values()):
                continue
            flows = frozenset(number for part in parts.values() for number in part.flows)
            state.rows.append((flows, self.row(list(state.columns), parts, flows)))
            for name in parts:
                del state.columns[name][product]

    def row(self, columns: list[str], parts: dict[str, _Part], flows: frozenset[int]) -> Row:
        named = [part for part in parts.values() if _named(part.amount)]
        part = (named or list(parts.values()))[0]
        names = [self.account.flows[number].name for number in sorted(flows)]
        size = abs(part.coefficient)
        gains = (parts[column].coefficient / size if column in parts else Fraction(0) for column in columns)
        return Row(", ".join(names) or self.label(part.amount), self.shown(part.amount), tuple(gains))

    def rows(self, state: _State) -> Iterator[Row]:
        """The rows among the columns, then those of declared flows: as declared, if they go to one column only."""
        yield from (row for flows, row in state.rows if not flows)
        done: set[int] = set()
        for number in range(len(self.account.flows)):
            group = state.together[number]
            own = [row for flows, row in state.rows if flows & group]
            *inside, _ = zip(*(row.gains for row in own), strict=True) if own else [()]
            columns = [place for place, gains in enumerate(inside) if any(gains)]
            if len(columns) == 1:
                yield _declared(self.account.flows[number], columns[0], len(inside))
            elif not group & done:
                yield from own
            done |= group

    def findings(self, state: _State) -> tuple[tuple[Loose, ...], tuple[Missing, ...]]:
        loose: list[Loose] = []
        missing: dict[int, Missing] = {}
        for product, parts in state.rest().items():
            declared = parts.pop(OUTSIDE, None)
            gain = sum((part.coefficient for part in parts.values()), Fraction(0))
            if declared is not None:
                instead = shown(self.model, Sum({product: gain})) if gain else None
                for number in sorted(declared.flows):
                    found = Missing(self.account.flows[number], self.shown(declared.amount), instead)
                    missing.setdefault(number, found)
                continue
            column, part = max(parts.items(), key=lambda pair: abs(pair[1].coefficient))
            amount = part.amount if len(parts) == 1 else Sum({product: gain})
            loose.append(Loose(column, self.label(amount), self.shown(amount), gain > 0, part.terms[0]))
        met = {number for flows, _ in state.rows for one in flows for number in state.together[one]}
        for number, flow in enumerate(self.account.flows):
            if number not in met and number not in missing:
                missing[number] = Missing(flow, flow.text, None)
        return tuple(loose), tuple(missing.values())

    def label(self, amount: Sum) -> str:
        return label(self.model, next(iter(amount.terms)))

    def shown(self, amount: Sum) -> str:
        """An amount, whatever its sign."""
        return shown(self.model, Sum({product: abs(c) for product, c in amount.terms.items()}))


def _signed(node: ir.Expression, sign: int) -> ir.Expression:
    return node if sign > 0 else ir.Unary("-", node, node.type)


def _reference(node: ir.Expression) -> ir.Reference:
    """The state or value that an entry of an account is, or is the sum of."""
    return next(inner for inner in ir.walk(node) if isinstance(inner, ir.Reference))


def _named(amount: Sum) -> bool:
    """Whether an amount is the sum of a single symbol."""
    return all(product.value is not None for product in amount.terms)


def _declared(flow: ir.Flow, column: int, columns: int) -> Row:
    """The row of a declared flow between one column and the outside, the last."""
    gain = Fraction(1 if flow.source else -1)
    gains = [gain if place == column else Fraction(0) for place in range(columns)]
    return Row(flow.name, flow.text, (*gains, -gain))
