"""What the compiler knows of a value: its kind, the indices it varies over, its unit, when it is known."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from rbcc.compiler.ir.units import Unit


Precision = Literal["float32", "float64"]
"""The format of all numbers of a model."""
NetworkPrecision = Literal["float32", "tf32", "bf16"]
"""How the networks of a model multiply."""


class Kind(StrEnum):
    NUMBER = "number"
    FLAG = "flag"  # true or false; counts as 1 or 0 in arithmetic
    CHOICE = "choice"  # one member of an agent type
    INDEX = "index"  # an index variable; counts as 0, 1, 2, ... in arithmetic


class Role(StrEnum):
    """What a symbol is to the model."""

    PARAMETER = "parameter"
    STATE = "state"
    ACTION = "action"
    VALUE = "value"
    REWARD = "reward"
    SHARED = "shared"  # a part that several equations have in common, named by the compiler
    CLOCK = "clock"  # the number of the step; in schedules, the progress of training

    @property
    def noun(self) -> str:
        """The word with its article."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"


class Time(IntEnum):
    """When a value is known within a step; an expression is known when its latest part is."""

    FIXED = 0  # parameters
    NOW = 1  # the state at the start of the step: what agents can observe
    CHOSEN = 2  # the choices of this step
    WITHIN = 3  # shocks of this step, and what follows from them and from choices
    NEXT = 4  # the state at the start of the next step

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Time.FIXED: "fixed",
    Time.NOW: "known at the start of the step",
    Time.CHOSEN: "chosen in the step",
    Time.WITHIN: "determined within the step",
    Time.NEXT: "known only at the start of the next step",
}


@dataclass(frozen=True)
class Type:
    """The type of an expression.

    `axes` are the index variables the value varies over, in the order of their first appearance; `of` is the agent
    type a choice or index belongs to; a unit of None is unknown and agrees with every other.
    """

    kind: Kind = Kind.NUMBER
    axes: tuple[str, ...] = ()
    unit: Unit | None = None
    time: Time = Time.FIXED
    of: str | None = None
