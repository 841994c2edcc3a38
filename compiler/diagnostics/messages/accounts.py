"""Accounts: what they are declared to hold, and flows that they do not declare."""

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error


# --- declarations ----------------------------------------------------------------------------------------------------


STOCK = "a state that is a number"
PASSING = "a value within the step"


def not_a_name(entry: str, expected: str, span: Span) -> Diagnostic:
    """`entry` says what the expression is for: "a stock of an account"."""
    return error("RB903", f"{entry} is a name, not an expression", span, expected=expected)


def not_a_stock(name: str, meaning: str | None, span: Span) -> Diagnostic:
    """`meaning` is what `name` is, with the article, if it is a symbol at all."""
    message = f"'{name}' is not a stock" if meaning is None else f"'{name}' is {meaning}, not a stock"
    return error("RB903", message, span, expected=STOCK)


def passes_through_nothing(name: str, meaning: str | None, span: Span) -> Diagnostic:
    """`meaning` is what `name` is, with the article, if it is a symbol at all."""
    message = f"nothing passes through '{name}'"
    return error("RB903", message if meaning is None else f"{message}, {meaning}", span, expected=PASSING)


def another_unit(account: str, unit: str, found: str, first: str, span: Span, first_span: Span) -> Diagnostic:
    """`first` is the first stock, whose unit is that of the account."""
    return error(
        "RB904",
        f"account '{account}' is kept in {unit}, but this is in {found}",
        span,
        expected=f"{unit}, the unit of '{first}'",
        found=found,
        labels=(Label(first_span, "its first stock is at"),),
    )


# --- flows -----------------------------------------------------------------------------------------------------------


def out_of_balance(account: str, span: Span) -> Diagnostic:
    """An account whose equations are too long for a proof does not balance at random numbers."""
    return error(
        "RB901",
        f"account '{account}' does not balance, as random numbers show",
        span,
        help="its equations are too long to say where: compare what its stocks gain and lose with what it declares",
    )


def stock_starts_anew(
    account: str, state: str, next_value: str, holder: str, amount: str, span: Span, declared: Span
) -> Diagnostic:
    """The equation of `next_value`, as it is written, leaves out what the stock held before."""
    return _loose(
        f"what '{state}' held before is not carried over: {holder} loses {amount}",
        f"the equation of a stock starts from the stock, {next_value} = {next_value.replace(chr(39), '', 1)} + ...",
        account,
        span,
        declared,
    )


def one_sided_flow(
    account: str, name: str, holder: str, amount: str, gain: bool, passing: bool, span: Span, declared: Span
) -> Diagnostic:
    """What `holder` gains or loses without a counterpart; `passing`: as a whole value that passes through."""
    does = "passes on" if passing else "gains" if gain else "loses"
    counterpart = "loses it" if gain else "gets it"
    kind, verb = ("sources", "lose") if gain else ("sinks", "get")
    return _loose(
        f"{holder} {does} {amount}{'' if passing else ' here'}, and nobody {counterpart}",
        f"let another stock {verb} it, or declare it under accounts.{account}.{kind}:  {name}: {amount}",
        account,
        span,
        declared,
    )


def _loose(message: str, help: str, account: str, span: Span, declared: Span) -> Diagnostic:
    return error("RB901", message, span, help=help, labels=(Label(declared, f"account '{account}' is at"),))


def declared_without_equation(account: str, kind: str, amount: str, span: Span) -> Diagnostic:
    """`kind` is "source" or "sink"."""
    return error(
        "RB902",
        f"no equation has {amount}, declared as a {kind} of {account}",
        span,
        help="remove it here, or add the term that the equation of a stock lacks",
    )


def another_flow(account: str, kind: str, name: str, amount: str, instead: str, span: Span) -> Diagnostic:
    """The equations have the amount `instead` in place of the declared flow `name`: with a minus if stocks lose it."""
    lost = instead.startswith("-")
    return error(
        "RB902",
        f"the equations have a flow other than '{name}', declared as a {kind} of {account}",
        span,
        expected=f"stocks {'lose' if lost else 'gain'} {instead.removeprefix('-')}",
        found=f"stocks {'gain' if kind == 'source' else 'lose'} {amount}",
        help=f"declare it under '{'sinks' if lost else 'sources'}'" if lost == (kind == "source") else None,
    )
