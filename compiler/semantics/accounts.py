"""Accounts as a spec declares them: their stocks and flows as typed IR, and what its equations say of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.accounting import Loose, Missing, Term, flow_tables
from rbcc.compiler.diagnostics import Label, Span
from rbcc.compiler.ir.constants import is_literal
from rbcc.compiler.ir.types import Kind, Role
from rbcc.compiler.semantics.context import Context, place_of
from rbcc.compiler.semantics.definitions import Draft
from rbcc.compiler.semantics.expressions import Scope, infer


def read_accounts(context: Context) -> tuple[ir.Account, ...]:
    """The accounts of a spec; what cannot be read is reported and left out."""
    found = [_Reader(context, name).account() for name in context.spec.accounts]
    return tuple(account for account in found if account is not None)


def check_accounts(context: Context, drafts: Mapping[str, Draft], model: ir.Model) -> None:
    """Reports what the equations of `model` add to stocks or take from them, and its accounts do not say."""
    context.tables = flow_tables(model)
    for table in context.tables:
        for loose in _by_term(table.loose):
            _report_loose(context, drafts, table.account, loose)
        for missing in table.missing:
            _report_missing(context, table.account, missing)
        if table.refuted and not (table.loose or table.missing):
            name = table.account.name
            context.diagnostics.error(
                "RB901",
                f"account '{name}' does not balance, as random numbers show",
                context.key("accounts", name),
                help="its equations are too long to say where: compare what its stocks gain and lose with what it declares",
            )


class _Reader:
    def __init__(self, context: Context, name: str):
        self.context, self.name = context, name
        self.names, self.diagnostics = context.names, context.diagnostics
        self.declared, self.span = context.spec.accounts[name], context.key("accounts", name)

    def account(self) -> ir.Account | None:
        if self.name in self.context.spec.identities:
            self.diagnostics.error(
                "RB203",
                f"'{self.name}' is an identity and an account",
                self.span,
                help="an account is an identity too: remove the other one, or give it another name",
                labels=(Label(self.context.key("identities", self.name), "the identity is at"),),
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
        parts = [*held, *passed.values(), *moved.values()]
        if None in parts or not self.units_agree([(p, n.span) for p, n in zip(parts, nodes, strict=True) if p and n]):
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
        found = self.whole(inner, scope, "a stock", "a state")
        if found is None:
            return None
        symbol = self.symbol_in(found)
        if symbol is None:
            self.wrong(node, f"'{ir.show(found)}' is not a stock", "a state that is a number")
            return None
        if symbol.role is not Role.STATE or symbol.name.endswith("'") or symbol.type.kind is not Kind.NUMBER:
            self.wrong(node, f"'{symbol.name}' is {_a(symbol)}, and no stock", "a state that is a number")
            return None
        return found if inner is node else ir.Unary("-", found, found.type)

    def passing(self, node: syntax.Expression, scope: Scope) -> ir.Expression | None:
        found = self.whole(node, scope, "what passes through", "a value within the step")
        if found is None:
            return None
        symbol = self.symbol_in(found)
        if symbol is None:
            self.wrong(node, f"'{ir.show(found)}' passes through nothing", "a value within the step")
            return None
        if symbol.role is not Role.VALUE:
            self.wrong(node, f"'{symbol.name}' is {_a(symbol)}, and passes through nothing", "a value within the step")
            return None
        return found

    def symbol_in(self, found: ir.Expression) -> ir.Symbol | None:
        """The symbol that a stock or value is of; an index, or the horizon, is of none."""
        name = next((node.symbol for node in ir.walk(found) if isinstance(node, ir.Reference)), None)
        return None if name is None else self.names.symbols[name]

    def whole(self, node: syntax.Expression, scope: Scope, what: str, expected: str) -> ir.Expression | None:
        """A name with its indices, or a bare one as the sum over all agents."""
        if not isinstance(node, syntax.Reference):
            self.wrong(node, f"{what} of an account is a name, not an expression", expected)
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
        arguments = tuple(syntax.Argument(part, None) for part in (*references, full))
        return infer(syntax.Call("sum", arguments, node.span, node.span), scope, self.names)

    def wrong(self, node: syntax.Expression, message: str, expected: str) -> None:
        self.diagnostics.error("RB903", message, node.span, expected=expected)

    def units_agree(self, parts: list[tuple[ir.Expression, Span]]) -> bool:
        (first, span), unit = parts[0], parts[0][0].type.unit
        wrong = [
            (part, place)
            for part, place in parts
            if self.names.units and part.type.unit not in (None, unit) and not is_literal(part)
        ]
        for part, place in wrong:
            self.diagnostics.error(
                "RB904",
                f"account '{self.name}' is kept in {unit}, this is in {part.type.unit}",
                place,
                expected=f"{unit}, the unit of '{ir.show(first)}'",
                found=str(part.type.unit),
                labels=(Label(span, "its first stock is at"),),
            )
        return not wrong


def _by_term(found: Iterable[Loose]) -> Iterator[Loose]:
    """Flows that come from the same term of an equation, such as interest on a sum, as one."""
    groups: dict[tuple[str, Term], list[Loose]] = {}
    for loose in found:
        groups.setdefault((loose.column, loose.term), []).append(loose)
    for group in groups.values():
        first, *rest = sorted(group, key=lambda loose: not loose.gain)
        signs = ("+" if loose.gain == first.gain else "-" for loose in rest)
        amount = " ".join([first.amount, *(f"{sign} {loose.amount}" for sign, loose in zip(signs, rest, strict=True))])
        yield replace(first, amount=amount)


def _a(symbol: ir.Symbol) -> str:
    if symbol.role is Role.STATE:
        return "the next value of a state" if symbol.name.endswith("'") else f"a {symbol.type.kind}"
    return symbol.role.noun


def _report_loose(context: Context, drafts: Mapping[str, Draft], account: ir.Account, loose: Loose) -> None:
    whole = loose.term.place is None
    if whole and loose.term.symbol.endswith("'"):
        state, next_ = loose.name, drafts[loose.term.symbol].text.partition("=")[0].strip()
        message = f"what '{state}' held before is not carried over: {loose.column} loses {loose.amount}"
        help = f"the equation of a stock starts from what there is, {next_} = {next_.replace(chr(39), '', 1)} + ..."
    else:
        does = "passes on" if whole else "gains" if loose.gain else "loses"
        other = "loses it" if loose.gain else "gets it"
        message = f"{loose.column} {does} {loose.amount}{'' if whole else ' here'}, and nobody {other}"
        kind, verb = ("sources", "lose") if loose.gain else ("sinks", "get")
        help = f"let another stock {verb} it, or declare it under accounts.{account.name}.{kind}:  "
        help += f"{loose.name}: {loose.amount}"
    context.diagnostics.error(
        "RB901",
        message,
        _term_span(context, drafts, account, loose.term),
        help=help,
        labels=(Label(context.key("accounts", account.name), f"account '{account.name}' is at"),),
    )


def _report_missing(context: Context, account: ir.Account, missing: Missing) -> None:
    flow = missing.flow
    kind, verb = ("source", "gain") if flow.source else ("sink", "lose")
    span = context.key("accounts", account.name, f"{kind}s", flow.name)
    if missing.instead is None:
        context.diagnostics.error(
            "RB902",
            f"no equation has {missing.amount}, declared as a {kind} of {account.name}",
            span,
            help="remove it here, or the equation of a stock lacks a term",
        )
        return
    lost = missing.instead.startswith("-")
    context.diagnostics.error(
        "RB902",
        f"the equations have another flow than '{flow.name}', declared as a {kind} of {account.name}",
        span,
        expected=f"stocks {'lose' if lost else 'gain'} {missing.instead.removeprefix('-')}",
        found=f"stocks {verb} {missing.amount}",
        help=f"declare it under '{'sinks' if lost else 'sources'}'" if lost == flow.source else None,
    )


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
