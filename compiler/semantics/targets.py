"""Gains that are small enough, by agent type: the targets of `verify`, and those that end a phase of training."""

import re
from collections.abc import Iterator, Mapping

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Span, messages
from rbcc.compiler.schema.spec import AMOUNT
from rbcc.compiler.semantics.expressions import Names
from rbcc.compiler.source import Document, KeyPath, Scalar


def targets(
    written: float | str | Mapping[str, float | str],
    path: KeyPath,
    document: Document,
    names: Names,
    default: float | str | None = None,
) -> Iterator[tuple[str, ir.Target]]:
    """The target of each agent type, `written` at `path` for all of them or by type; `default` is that of types left
    out, which have none without it.

    An amount has to have the unit of the type's reward.
    """
    each = isinstance(written, Mapping)
    by_type = written if isinstance(written, Mapping) else dict.fromkeys(names.agents, written)
    for agent in by_type:
        if agent not in names.agents:
            at = document.key((*path, agent))
            names.diagnostics.add_missing(agent, messages.names.no_agent_type(agent, at, list(names.agents)))
    for agent in names.agents:
        value = by_type.get(agent, default)
        if isinstance(value, float):
            yield agent, ir.Target(value)
        elif value is not None:
            target = _amount(agent, (*path, agent) if each else path, each, document, names)
            if target:
                yield agent, target


def _amount(agent: str, path: KeyPath, each: bool, document: Document, names: Names) -> ir.Target | None:
    """The amount at `path`; `each` says that every type has a target of its own there."""
    scalar = document.scalar(path)
    match = re.fullmatch(AMOUNT, scalar.text)
    assert match is not None
    start = scalar.span.start + len(scalar.quote) + match.start(2)
    span = Span(scalar.span.source, start, start + len(match[2]))
    unit = syntax.parse_unit(Scalar(match[2], match[2], span), names.diagnostics)
    reward = names.symbols.get(f"{agent}.reward")
    if unit is None or reward is None:
        return None
    if reward.type.unit not in (None, unit):
        wanted, given = str(reward.type.unit), str(unit)
        names.diagnostics.add(messages.training.target_in_another_unit(agent, wanted, given, not each, span))
        return None
    return ir.Target(float(match[1]), str(unit))
