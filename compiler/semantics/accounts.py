"""Accounts as a spec declares them: their stocks and flows as typed IR, and what its equations say of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.accounting import Loose, Missing, Term, flow_tables
from rbcc.compiler.diagnostics import Diagnostic, Span, messages
from rbcc.compiler.ir.constants import is_literal
from rbcc.compiler.ir.types import Kind, Role
from rbcc.compiler.semantics.context import Context, place_of
from rbcc.compiler.semantics.definitions import Draft
from rbcc.compiler.semantics.expressions import Scope, infer


def read_accounts(context: Context) -> tuple[ir.Account, ...]:
    """The accounts of a spec; what cannot be read is reported and left out."""
    accounts = [_Reader(context, name).account() for name in context.spec.accounts]
    return tuple(account for account in accounts if account is not None)


def check_accounts(context: Context, drafts: Mapping[str, Draft], model: ir.Model) -> None:
    """Reports what the equations of `model` add to stocks or take from them, and its accounts do not say."""
    context.tables = flow_tables(model)
    for table in context.tables:
        for loose in _by_term(table.loose):
            context.diagnostics.add(_loose_flow(context, drafts, table.account, loose))
        for missing in table.missing:
            context.diagnostics.add(_missing_flow(context, table.account.name, missing))
        if table.refuted and not (table.loose or table.missing):
            name = table.account.name
            context.diagnostics.add(messages.accounts.out_of_balance(name, context.key("accounts", name)))


class _Reader:
    def __init__(self, context: Context, name: str):
        self.context, self.name = context, name
        self.names, self.diagnostics = context.names, context.diagnostics
        self.declared, self.span = context.spec.accounts[name], context.key("accounts", name)

    def report(self, finding: Diagnostic) -> None:
        self.diagnostics.add(finding)

    def account(self) -> ir.Account | None:
        if self.name in self.context.spec.identities:
            self.report(
                messages.names.identity_and_account(self.name, self.span, self.context.key("identities", self.name))
            )
        kinds = ("sources", "sinks")
        stocks = [self.context.expression("accounts", self.name, "stocks", k) for k in range(len(self.declared.stocks))]
        through = {name: self.node("through", name) for name in self.declared.through}
        flows = {(kind, name): self.node(kind, name) for kind in kinds for name in getattr(self.declared, kind)}
        nodes = [*stocks, *through.values(), *flows.values()]
        if None in nodes:
            return None
        indices = tuple(dict.fromkeys(i for node in nodes if node for i in self.context.free_indices(node)))
        scope = Scope(f"account '{self.name}'", indices)
        held = [self.stock(node, scope) for node in stocks if node]
        passed = {name: self.passing(node, scope) for name, node in through.items() if node}
        moved = {key: infer(node, scope, self.names) for key, node in flows.items() if node}
        values = [*held, *passed.values(), *moved.values()]
        if None in values or not self.units_agree([(v, n.span) for v, n in zip(values, nodes, strict=True) if v and n]):
            return None
        return ir.Account(
            self.name,
            indices,
            tuple(stock for stock in held if stock),
            tuple((name, value) for name, value in passed.items() if value),
            tuple(self.flow(kind, name, value) for (kind, name), value in moved.items() if value),
            place_of(self.span),
        )

    def flow(self, kind: str, name: str, value: ir.Expression) -> ir.Flow:
        text = " ".join(getattr(self.declared, kind)[name].split())
        return ir.Flow(
            name, kind == "sources", value, text, place_of(self.context.key("accounts", self.name, kind, name))
        )

    def node(self, kind: str, name: str) -> syntax.Expression | None:
        return self.context.expression("accounts", self.name, kind, name)

    def stock(self, node: syntax.Expression, scope: Scope) -> ir.Expression | None:
        inner = node.operand if isinstance(node, syntax.Unary) and node.operator == "-" else node
        value = self.whole(inner, scope, "a stock of an account", messages.accounts.STOCK)
        if value is None:
            return None
        symbol = self.symbol_in(value)
        if symbol is None:
            self.report(messages.accounts.not_a_stock(ir.show(value), None, node.span))
            return None
        if symbol.role is not Role.STATE or symbol.name.endswith("'") or symbol.type.kind is not Kind.NUMBER:
            self.report(messages.accounts.not_a_stock(symbol.name, _meaning(symbol), node.span))
            return None
        return value if inner is node else ir.Unary("-", value, value.type)

    def passing(self, node: syntax.Expression, scope: Scope) -> ir.Expression | None:
        value = self.whole(node, scope, "a value that passes through an account", messages.accounts.PASSING)
        if value is None:
            return None
        symbol = self.symbol_in(value)
        if symbol is None:
            self.report(messages.accounts.passes_through_nothing(ir.show(value), None, node.span))
            return None
        if symbol.role is not Role.VALUE:
            self.report(messages.accounts.passes_through_nothing(symbol.name, _meaning(symbol), node.span))
            return None
        return value

    def symbol_in(self, value: ir.Expression) -> ir.Symbol | None:
        """The symbol that a stock or value is of; an index, or the horizon, is of none."""
        name = next((node.symbol for node in ir.walk(value) if isinstance(node, ir.Reference)), None)
        return None if name is None else self.names.symbols[name]

    def whole(self, node: syntax.Expression, scope: Scope, what: str, expected: str) -> ir.Expression | None:
        """A name with its indices, or a bare one as the sum over all agents."""
        if not isinstance(node, syntax.Reference):
            self.report(messages.accounts.not_a_name(what, expected, node.span))
            return None
        name = node.name + ("'" if node.primed else "")
        candidates = [s for s in self.names.candidates(name) if node.owner in (None, s.owner)]
        sets = candidates[0].sets if len(candidates) == 1 and node.indices is None else ()
        if not sets:
            return infer(node, scope, self.names)
        indices: list[str] = []
        for owner in sets:
            indices += [i for i in self.names.agents[owner].indices if i not in (*scope.bound, *indices)][:1]
        if len(indices) < len(sets):  # the account is for each of them
            return infer(node, scope, self.names)
        references = [syntax.Reference(index, None, False, None, node.span, node.span) for index in indices]
        full = syntax.Reference(node.name, node.owner, node.primed, tuple(references), node.span, node.name_span)
        arguments = tuple(syntax.Argument(argument, None) for argument in (*references, full))
        return infer(syntax.Call("sum", arguments, node.span, node.span), scope, self.names)

    def units_agree(self, values: list[tuple[ir.Expression, Span]]) -> bool:
        (first, first_span), unit = values[0], values[0][0].type.unit
        wrong = [
            (value, span)
            for value, span in values
            if self.names.units and value.type.unit not in (None, unit) and not is_literal(value)
        ]
        for value, span in wrong:
            shown, stock = str(value.type.unit), ir.show(first)
            self.report(messages.accounts.another_unit(self.name, str(unit), shown, stock, span, first_span))
        return not wrong


def _by_term(flows: Iterable[Loose]) -> Iterator[Loose]:
    """Flows that come from the same term of an equation, such as interest on a sum, as one."""
    groups: dict[tuple[str, Term], list[Loose]] = {}
    for loose in flows:
        groups.setdefault((loose.column, loose.term), []).append(loose)
    for group in groups.values():
        first, *rest = sorted(group, key=lambda loose: not loose.gain)
        signs = ("+" if loose.gain == first.gain else "-" for loose in rest)
        amount = " ".join([first.amount, *(f"{sign} {loose.amount}" for sign, loose in zip(signs, rest, strict=True))])
        yield replace(first, amount=amount)


def _meaning(symbol: ir.Symbol) -> str:
    """What a symbol is, with the article."""
    if symbol.role is Role.STATE:
        return "the next value of a state" if symbol.name.endswith("'") else f"a {symbol.type.kind}"
    return symbol.role.noun


def _loose_flow(context: Context, drafts: Mapping[str, Draft], account: ir.Account, loose: Loose) -> Diagnostic:
    passing = loose.term.place is None
    span, declared = _term_span(context, drafts, account, loose.term), context.key("accounts", account.name)
    if passing and loose.term.symbol.endswith("'"):
        next_value = drafts[loose.term.symbol].text.partition("=")[0].strip()
        return messages.accounts.stock_starts_anew(
            account.name, loose.name, next_value, loose.column, loose.amount, span, declared
        )
    return messages.accounts.one_sided_flow(
        account.name, loose.name, loose.column, loose.amount, loose.gain, passing, span, declared
    )


def _missing_flow(context: Context, account: str, missing: Missing) -> Diagnostic:
    flow = missing.flow
    kind = "source" if flow.source else "sink"
    span = context.key("accounts", account, f"{kind}s", flow.name)
    if missing.instead is None:
        return messages.accounts.declared_without_equation(account, kind, missing.amount, span)
    return messages.accounts.another_flow(account, kind, flow.name, missing.amount, missing.instead, span)


def _term_span(context: Context, drafts: Mapping[str, Draft], account: ir.Account, term: Term) -> Span:
    if term.place is not None:
        return list(_additive_spans(drafts[term.symbol].node))[term.place]
    if term.symbol.endswith("'"):
        return drafts[term.symbol].span
    passing = next(name for name, value in account.through if term.symbol in ir.references(value))
    return context.key("accounts", account.name, "through", passing)


def _additive_spans(node: syntax.Expression) -> Iterator[Span]:
    """Where the terms stand that an expression adds up, in the order of `accounting.additive_terms`."""
    match node:
        case syntax.Binary("+" | "-", left, right):
            yield from _additive_spans(left)
            yield from _additive_spans(right)
        case syntax.Unary("-", operand):
            yield from _additive_spans(operand)
        case _:
            yield node.span
