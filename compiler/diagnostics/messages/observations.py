"""What agents observe, and the scales of it."""

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error, warning


def scale_of_public(span: Span) -> Diagnostic:
    return error(
        "RB606",
        "'public' has no scale of its own",
        span,
        help="give scales to the values listed under 'public'",
    )


def scale_of_digits(span: Span) -> Diagnostic:
    return error("RB606", "digits have no scale", span, help="remove it")


def no_scale(name: str, span: Span) -> Diagnostic:
    return error(
        "RB606",
        f"no scale can be derived for '{name}'",
        span,
        help="give its typical size: 'scale: 100' at the state, or {value: ..., scale: 100} here",
    )


def scale_not_positive(span: Span) -> Diagnostic:
    return error("RB103", "a scale must be above 0", span)


def unused_public(span: Span) -> Diagnostic:
    return warning(
        "RB207", "no agent type observes 'public'", span, help="list it under 'observes': observes: [public, ...]"
    )


def twice(agent: str, name: str, span: Span, public: bool) -> Diagnostic:
    """`public`: the type observes what is public, too."""
    return warning(
        "RB607",
        f"'{agent}' observes '{name}' twice",
        span,
        help="'public' has it already: remove it here" if public else "remove one of the two",
    )
