"""Where names stand in a spec and what each means there: kept while checking, for tools that show specs to people."""

from enum import StrEnum
from typing import NamedTuple

from rbcc.compiler.diagnostics import Span


class What(StrEnum):
    """What a name can be the name of."""

    SYMBOL = "value"  # a symbol of the IR; schedules, indicators and the clocks of training begin with @
    AGENT = "agent type"
    INDEX = "index"
    FUNCTION = "function"
    CONSTRAINT = "constraint"
    UNIT = "unit"
    KEY = "key"  # a key of the spec that expressions speak of: horizon, public


class Mention(NamedTuple):
    """A place where a name stands.

    `name` is the full name of what is meant (`type.name` for what belongs to an agent type, with a prime for a next
    value). Where the name is defined, `extent` is the place of the whole definition. A few mentions are made by the
    compiler on its own, at the place they were made from: there `span` holds another text than the name.
    """

    what: What
    name: str
    span: Span
    extent: Span | None = None
