"""The keys of a spec, with their descriptions: the only place that lists them.

Values that hold expressions are kept as written; `rbcc.compiler.semantics` reads them with their place in the file.
"""

import re
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.diagnostics.other_languages import number_trap
from rbcc.compiler.ir.types import NetworkPrecision, Precision
from rbcc.compiler.source import Document


def _expression(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)):
        return str(value)
    raise PydanticCustomError("expression", "an expression or a number is needed here")


Expression = Annotated[
    str, BeforeValidator(_expression), WithJsonSchema({"type": ["string", "number", "boolean"]}, mode="validation")
]


Equations = Annotated[str, "one equation a line"]


def _name(value: Any) -> Any:
    if isinstance(value, str) and value.isidentifier():
        return value
    raise PydanticCustomError("name", "a name: letters, digits and _, not starting with a digit")


def _number(value: Any) -> Any:
    """Refuses what pydantic would take for a number, but people may mean otherwise."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "a number")
    if isinstance(value, str) and (trap := number_trap(value)):
        raise PydanticCustomError("number_trap", "{message}", {"message": trap.message, "help": trap.help})
    return value


Name = Annotated[str, BeforeValidator(_name)]
Number = Annotated[float, BeforeValidator(_number)]
Positive = Annotated[int, Field(gt=0, lt=2**31), BeforeValidator(_number)]


class Table(BaseModel):
    """A table of the spec with a fixed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Shorthand(Table):
    """A table for which a bare value may stand: that of the key `short`."""

    short: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {cls.short: value}


class DataFile(Table):
    """Numbers from a CSV file: one column, a row for each agent; or a matrix, a row and a column for each agent."""

    csv: str = Field(description="the file, relative to the spec that names it")
    column: str | None = Field(default=None, description="the column of a value with one index")
    key: str | None = Field(default=None, description="of a matrix: the column with the names of its rows")


def _form(value: Any) -> str:
    return "file" if isinstance(value, (dict, DataFile)) else "list" if isinstance(value, list) else "expression"


# An expression, a list (of lists, over two agent types), or a file.
Values = Annotated[
    Annotated[Expression, Tag("expression")] | Annotated[list[Any], Tag("list")] | Annotated[DataFile, Tag("file")],
    Discriminator(_form),
]


class Parameter(Shorthand):
    """A constant of the model, or of each agent of a type."""

    short = "value"

    value: Values = Field(
        description="number or expression, which may use the agent's index; a list with one number for each agent, of "
        "lists if 'over' another type; or {csv: FILE, column: NAME}"
    )
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    over: Name | None = Field(default=None, description="agent type this value is also indexed by")
    doc: str | None = Field(default=None, description="what it is, for people")


Encoding = Literal["linear", "log", "digits"]


class Rouwenhorst(Table):
    """An autoregressive process as a Markov chain, by the method of Rouwenhorst (1995)."""

    persistence: Expression = Field(description="autocorrelation from step to step, between -1 and 1")
    standard_deviation: Expression | None = Field(default=None, description="of the chain in the long run")
    shock: Expression | None = Field(
        default=None, description="standard deviation of what is new in each step; in place of standard_deviation"
    )
    states: Annotated[int, Field(ge=2)] = Field(description="number of values")
    mean: Expression = Field(default="0", description="mean of the chain")

    @model_validator(mode="after")
    def _one_size(self) -> "Rouwenhorst":
        if (self.standard_deviation is None) == (self.shock is None):
            raise PydanticCustomError("size", "give either 'standard_deviation' (of the chain) or 'shock'")
        return self


class Chain(Table):
    """A Markov chain: a value out of a list, the next one drawn with chances that depend on it."""

    values: list[Expression] | None = Field(default=None, description="the values, all different")
    transitions: list[list[Expression]] | None = Field(
        default=None, description="for each value a row: the chances of every value in the next step, which sum to 1"
    )
    rouwenhorst: Rouwenhorst | None = Field(default=None, description="in place of values and transitions")

    @model_validator(mode="after")
    def _one_form(self) -> "Chain":
        given = self.values is not None, self.transitions is not None
        if given not in ((True, True), (False, False)) or given[0] == (self.rouwenhorst is not None):
            raise PydanticCustomError("chain", "give 'values' and 'transitions', or 'rouwenhorst'")
        return self


class State(Shorthand):
    """A value carried from step to step; an equation must give its next value (written with a prime)."""

    short = "start"

    start: Values = Field(
        description="value at the first step, which may be drawn; true or false makes it a flag; of a Markov chain one of "
        "its values, or 'stationary'; or a list or file, as for parameters"
    )
    markov: Chain | None = Field(default=None, description="Markov chain that the state follows; it needs no equation")
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    over: Name | None = Field(default=None, description="agent type this value is also indexed by")
    scale: Expression | None = Field(default=None, description="typical size, for networks that observe it")
    encode: Encoding | None = Field(
        default=None,
        description="how networks see it: linear x/scale, log sign(x) log(1+|x|/scale), digits (x mod 10^k)/10^k",
    )
    doc: str | None = Field(default=None, description="what it is, for people")


class Grid(Table):
    """Equally spaced choices, both ends included."""

    from_: Number = Field(alias="from", description="the smallest choice")
    to: Number = Field(description="the largest choice")
    step: Number = Field(gt=0, description="the distance between two choices")


class Action(Table):
    """What an agent chooses each step."""

    choices: Grid | Annotated[list[Number], Field(min_length=1)] | None = Field(
        default=None, description="the numbers to choose from: a list or {from, to, step}"
    )
    between: tuple[Expression, Expression] | None = Field(
        default=None, description="two expressions, known when it is chosen: any number from one to the other"
    )
    choose: Name | None = Field(default=None, description="agent type one member of which is chosen")
    where: Expression | None = Field(
        default=None,
        description="condition on the name of the choice, known when it is chosen: only choices that fulfil it are allowed",
    )
    shares: Name | None = Field(
        default=None, description="agent type among whose members a whole is divided: a share for each, which sum to 1"
    )
    over: Name | None = Field(default=None, description="agent type for each member of which one choice is made")
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    doc: str | None = Field(default=None, description="what it is, for people")

    @model_validator(mode="after")
    def _one_kind(self) -> "Action":
        given = [key for key in ("choices", "between", "choose", "shares") if getattr(self, key) is not None]
        if len(given) != 1:
            either = "one of 'choices' (numbers), 'between' (two ends), 'choose' and 'shares' (an agent type)"
            found = " and ".join(given) or "none"
            raise PydanticCustomError("choices", "{either}", {"either": either, "found": found})
        return self


class Constraint(Table):
    """A limit enforced by a penalty, the multiplier of which is raised while it is violated (Lagrangian)."""

    violation: Expression = Field(description="how far the limit is violated: 0 where it holds")
    scale: Expression = Field(default="1", description="size by which the violation is divided")
    at: Literal["end", "every step"] = Field(default="every step", description="when it is checked")


class Observation(Shorthand):
    """One observed value with its own encoding."""

    short = "value"

    value: Expression = Field(description="a name or an expression, known at the start of the step")
    scale: Expression | None = Field(default=None, description="typical size, by which networks see it divided")
    encode: Encoding | None = Field(default=None, description="how networks see it; left out: as its state says")


class Agent(Table):
    """A type of agents."""

    index: Name | list[Name] | None = Field(default=None, description="index name(s); left out for a type of one agent")
    count: Positive = Field(description="how many agents of this type")
    discount: Expression | None = Field(
        default=None, description="discount factor per step, if it differs from the model's"
    )
    after: Name | list[Name] | None = Field(
        default=None, description="agent types whose choices of the same step it knows when it chooses"
    )
    takes_as_given: list[Name] = Field(
        default=[],
        description="values that each agent takes to be the same whatever it does alone, as someone small on a large market",
    )
    parameters: dict[Name, Parameter] = Field(default={}, description="what each agent is: constants")
    state: dict[Name, State] = Field(default={}, description="what each agent owns: carried from step to step")
    actions: dict[Name, Action] = Field(default={}, description="what each agent chooses, all at the same time")
    observes: list[Observation] = Field(default=[], description="what each agent knows when it chooses")
    reward: Expression | None = Field(default=None, description="what each agent wants, per step")
    constraints: dict[Name, Constraint] = Field(default={}, description="limits enforced by penalties")
    doc: str | None = Field(default=None, description="who they are, for people")

    @property
    def precedents(self) -> list[str]:
        """The types that choose before this one."""
        return [self.after] if isinstance(self.after, str) else self.after or []


class Unknown(Table):
    """A value that equations are solved for."""

    between: tuple[Expression, Expression] = Field(
        description="two expressions, known without it: where it is looked for, from one to the other"
    )
    over: Name | None = Field(default=None, description="agent type for each member of which there is one")
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    doc: str | None = Field(default=None, description="what it is, for people")


class System(Table):
    """Equations that hold within the step, and what they are solved for."""

    unknowns: Annotated[dict[Name, Unknown], Field(min_length=1)] = Field(description="what is solved for")
    equations: Equations = Field(description="as many as unknowns, one a line, such as demand[j] == supply[j]")


class Account(Table):
    """Stocks of one thing: in every step their change is all that comes from sources less all that goes into sinks."""

    stocks: Annotated[list[Expression], Field(min_length=1)] = Field(
        description="states that hold it, summed over all agents; for an account per agent, with an index: inventory[j]"
    )
    sources: dict[str, Expression] = Field(default={}, description="what comes into the stocks from outside, per step")
    sinks: dict[str, Expression] = Field(default={}, description="what leaves the stocks for good, per step")
    through: dict[Name, Expression] = Field(
        default={}, description="values that arrive and leave within the step, by who passes them on"
    )


class Window(Table):
    """Choices that open, from one value to the whole range, while the phase progresses."""

    open: tuple[Number, Number] = Field(description="progress at which the window starts to open and is fully open")
    from_: Number = Field(alias="from", description="the only choice before the window opens")


def _share(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            pass
    return _number(value)


def _percentage(**bounds: float) -> WithJsonSchema:
    """The JSON Schema of a share within `bounds`, written as a number or in percent."""
    number = {"type": "number", **bounds}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"}]}, mode="validation")


Share = Annotated[
    float, BeforeValidator(_share), Field(gt=0, lt=1), _percentage(exclusiveMinimum=0, exclusiveMaximum=1)
]
Explorers = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1), _percentage(exclusiveMinimum=0, maximum=1)]


def _amount(value: object) -> object:
    if isinstance(value, dict | list):  # a table of amounts, perhaps
        return value
    match = re.fullmatch(AMOUNT, value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise PydanticCustomError("amount", "an amount above 0 with its unit, such as 0.05 util")
    return match[0]


AMOUNT = r"\s*([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)\s+([^\s%].*)"
"""A positive number and its unit."""
Amount = Annotated[
    str, BeforeValidator(_amount), WithJsonSchema({"type": "string", "pattern": f"^{AMOUNT}$"}, mode="validation")
]


class Learner(Table):
    """How a type of agents learns; every setting left out is taken from `default`."""

    algorithm: Literal["ppo", "policy_gradient", "pathwise"] | None = Field(
        default=None,
        description="how policies are improved; pathwise: by the derivative of payoffs through the model, which has to be "
        "smooth, with choices 'between' two ends, or of 'shares'",
    )
    network: Annotated[list[Positive], Field(min_length=1)] | None = Field(
        default=None, description="widths of the hidden layers"
    )
    learning_rate: Expression | None = Field(default=None, description="of Adam")
    epochs: Positive | None = Field(default=None, description="passes over each batch")
    period: Positive | None = Field(default=None, description="the type learns every so many iterations")
    explorers: Explorers | None = Field(
        default=None,
        description="share of the type's agents who explore in an economy and are learned from; all others play the profile",
    )
    sharpness: Expression | None = Field(
        default=None,
        description="the profile plays what explorers play with probabilities to this power: 1 as they do, more for less "
        "at random",
    )
    clip: Expression | None = Field(default=None, description="PPO's clipping range")
    value_clip: Expression | None = Field(
        default=None, description="clipping range of the value estimate; left out: none"
    )
    value_weight: Expression | None = Field(default=None, description="weight of the value loss")
    gae: Expression | None = Field(default=None, description="lambda of generalised advantage estimation")
    entropy: Expression | None = Field(default=None, description="weight of the entropy bonus")
    gradient_clip: Expression | None = Field(default=None, description="largest norm of a gradient")
    reward_scale: Expression | None = Field(default=None, description="rewards are divided by this")
    starts: Number | None = Field(default=None, ge=0, le=1, description="progress at which the type starts to learn")
    joint: list[Name] | None = Field(
        default=None, description="actions that are drawn together, as one choice of all pairs"
    )
    lagrangian: dict[Name, Expression] | None = Field(
        default=None, description="step size of each constraint's multiplier"
    )


class ByType(Table):
    """A table in which names of agent types stand beside its own keys; `types` gathers what stands under them."""

    types: dict[Name, Learner] = {}

    @model_validator(mode="before")
    @classmethod
    def _types(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {field.alias or name for name, field in cls.model_fields.items()} - {"types"}
        types = {k: v for k, v in value.items() if k not in own}
        return {**{k: v for k, v in value.items() if k in own}, **({"types": types} if types else {})}


class Phase(Learner, ByType):
    """One stretch of training; a learning setting given here holds for all types, under a type's name for that one."""

    iterations: Positive = Field(description="number of rollouts and updates")
    economies: Positive = Field(description="economies simulated in parallel")
    until: Share | Amount | dict[Name, Share | Amount] | None = Field(
        default=None,
        description="the phase ends before its last iteration when no type's gain, measured now and then, is above "
        "this; written as verify.target is, and types left out of a table are not waited for",
    )
    curriculum: Literal["running", "finished"] = Field(
        default="running",
        description="finished: all types learn, windows are open, annealed parameters have their own value",
    )
    optimizer: Literal["keep", "fresh"] = Field(default="keep", description="fresh: Adam starts anew")
    schedules: dict[Name, Expression] = Field(default={}, description="named expressions of this phase")
    anneal: dict[str, Window | Expression] = Field(
        default={}, description="parameters and choices that change in this phase"
    )


class Training(ByType):
    """How agents learn; settings of one type stand under its name."""

    precision: NetworkPrecision = Field(
        default="float32",
        description="how networks multiply; a GPU is faster in the other two, which have fewer digits",
    )
    phases: Annotated[dict[Name, Phase], Field(min_length=1, max_length=20)] = Field(description="one after another")
    schedules: dict[Name, Expression] = Field(
        default={}, description="named expressions in progress, iteration, since(type)"
    )
    anneal: dict[str, Window | Expression] = Field(
        default={}, description="parameters and choices that change while training"
    )
    default: Learner = Field(default=Learner(), description="settings of all types")


TARGET = 0.01
"""The default of `verify.target`."""


class Verify(Table):
    """How the result is judged."""

    alive: list[Expression] = Field(
        default=[], description="conditions on indicators that a result worth the name fulfils"
    )
    target: Share | Amount | dict[Name, Share | Amount] = Field(
        default=TARGET,
        description="largest acceptable gain, as a share of the payoff above doing nothing (1%), or in the unit of the "
        "reward (0.05 util); also for each type: {baker: 1%}, and 1% for those left out",
    )
    shutdown: dict[str, Number] = Field(
        default={}, description="choices that mean doing nothing, such as baker.hours: 0"
    )
    economies: Positive | None = Field(
        default=None,
        description="economies in which each deviator learns; by default 64, of short episodes as many as play 256 steps",
    )
    iterations: Positive = Field(default=800, description="iterations for which each deviator learns")
    episodes: Annotated[int, BeforeValidator(_number), Field(ge=2)] = Field(
        default=4096, description="test episodes behind each estimate"
    )
    learning_rate: Annotated[Number, Field(gt=0)] = Field(default=1e-3, description="at the start; falls to a tenth")
    epochs: Positive = Field(default=4, description="passes over each batch")
    clip: Annotated[Number, Field(gt=0)] = Field(default=0.1, description="PPO's clipping range")


class Moments(Table):
    """How moments and impulse responses are measured."""

    log: list[Name] = Field(
        default=[],
        description="indicators that are above 0 for a reason the compiler cannot see: cycles and responses of these "
        "are in percent, as of those of which it can",
    )


class Spec(Table):
    """A model of an economy."""

    rbcc: Literal[1] = Field(description="version of the language")
    model: Name = Field(description="short name")
    title: str | None = Field(default=None, description="what it is, in a few words")
    reference: str | None = Field(default=None, description="the paper or book it comes from")
    doc: str | None = Field(default=None, description="what it is, in sentences")
    extends: str | None = Field(default=None, description="a spec to start from; tables are merged, null removes a key")
    use: list[str] = Field(default=[], description="Python files with primitives of your own")
    units: list[Name] = Field(default=[], description="base units; util is built in")
    horizon: Positive = Field(description="steps in an episode")
    continuing: bool = Field(
        default=False,
        description="whether the economy goes on after the horizon, which then only cuts it into episodes",
    )
    precision: Precision = Field(
        default="float32",
        description="of all numbers: about 7 digits, or with float64 about 16 at half the speed or less",
    )
    discount: Expression | None = Field(default=None, description="discount factor per step")
    parameters: dict[Name, Parameter] = Field(default={}, description="constants of the model")
    state: dict[Name, State] = Field(default={}, description="state of the economy as a whole")
    public: list[Observation] = Field(default=[], description="what 'public' in 'observes' stands for")
    agents: Annotated[dict[Name, Agent], Field(min_length=1)] = Field(description="the agent types")
    equations: dict[str, Equations] = Field(default={}, description="groups of equations, in any order")
    solve: dict[str, System] = Field(default={}, description="equations that are solved for unknowns within the step")
    identities: dict[str, Expression] = Field(default={}, description="accounting that must hold in every step")
    accounts: dict[str, Account] = Field(default={}, description="stocks, and all that flows into them and out of them")
    invariants: list[Expression] = Field(default=[], description="conditions that must hold in every step")
    indicators: dict[Name, Expression] = Field(default={}, description="numbers shown while training and reported")
    training: Training | None = Field(default=None, description="how agents learn")
    moments: Moments = Field(default=Moments(), description="how moments and impulse responses are measured")
    verify: Verify = Field(default=Verify(), description="how the result is judged")
    silence: list[str] | dict[str, str] = Field(
        default=[], description="codes of warnings that are not shown, or a table of codes with the reason for each"
    )


def read(document: Document, diagnostics: Diagnostics) -> tuple[Spec, Document] | None:
    """The spec in `document`, with every misfit of key and value in `diagnostics`.

    What does not fit is left out of the spec, and of the document that comes back with it, so that the rest can be
    checked too. Returns None if too little is left.
    """
    from pydantic import ValidationError

    if not document.overrides:  # of which there is more to tell
        with suppress(ValidationError):
            return Spec.model_validate(document.plain), document
    from rbcc.compiler.schema.recovery import Misfits  # most specs need none of it

    misfits = Misfits(document, diagnostics)
    while True:
        try:
            return Spec.model_validate(misfits.document.plain), misfits.document
        except ValidationError as error:
            if not misfits.repair(error.errors()):
                return None
