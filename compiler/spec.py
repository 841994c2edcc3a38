"""The keys of a spec, with their descriptions: the only place that lists them.

Values that hold expressions are kept as written; `rbcc.compiler.check` reads them with their place in the file.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.source import Document
from rbcc.compiler.traps import number_trap
from rbcc.compiler.types import Precision


def _expression(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)):
        return str(value)
    raise PydanticCustomError("expression", "an expression or a number is needed here")


Expression = Annotated[str, BeforeValidator(_expression)]


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
Positive = Annotated[int, BeforeValidator(_number), Field(gt=0, lt=2**31)]


class Table(BaseModel):
    """A table of the spec with a fixed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


def _shorthand(value: Any, key: str) -> Any:
    """A bare value stands for a table with that one key."""
    return value if isinstance(value, dict) else {key: value}


class Parameter(Table):
    """A constant of the model, or of each agent of a type."""

    value: Expression = Field(description="number or expression; of an agent's parameter, it may use the agent's index")
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    over: Name | None = Field(default=None, description="agent type this value is also indexed by")
    doc: str | None = Field(default=None, description="what it is, for people")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return _shorthand(value, "value")


Encoding = Literal["linear", "log", "digits"]


class State(Table):
    """A value carried from step to step; an equation must give its next value (written with a prime)."""

    start: Expression = Field(description="value at the first step; true or false makes it a flag")
    unit: str | None = Field(default=None, description="unit such as money/good; left out: a pure number")
    over: Name | None = Field(default=None, description="agent type this value is also indexed by")
    scale: Expression | None = Field(default=None, description="typical size, for networks that observe it")
    encode: Encoding | None = Field(
        default=None,
        description="how networks see it: linear x/scale, log sign(x) log(1+|x|/scale), digits (x mod 10^k)/10^k",
    )
    doc: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return _shorthand(value, "start")


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
    choose: Name | None = Field(default=None, description="agent type one member of which is chosen")
    over: Name | None = Field(default=None, description="agent type for each member of which one choice is made")
    unit: str | None = None
    doc: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Action":
        if (self.choices is None) == (self.choose is None):
            found = "neither" if self.choose is None else "both"
            either = "either 'choices' (numbers) or 'choose' (an agent type)"
            raise PydanticCustomError("choices", "{either}", {"either": either, "found": found})
        return self


class Constraint(Table):
    """A limit enforced by a penalty, the multiplier of which is raised while it is violated (Lagrangian)."""

    violation: Expression = Field(description="how far the limit is violated: 0 where it holds")
    scale: Expression = Field(default="1", description="size by which the violation is divided")
    at: Literal["end", "every step"] = Field(default="every step", description="when it is checked")


class Observation(Table):
    """One observed value with its own encoding."""

    value: Expression = Field(description="a name or an expression, known at the start of the step")
    scale: Expression | None = Field(default=None, description="typical size")
    encode: Encoding | None = Field(default=None, description="how networks see it, as for a state")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return _shorthand(value, "value")


class Agent(Table):
    """A type of agents."""

    index: Name | list[Name] | None = Field(default=None, description="index name(s); left out for a type of one agent")
    count: Positive = Field(description="how many agents of this type")
    discount: Expression | None = Field(
        default=None, description="discount factor per step, if it differs from the model's"
    )
    parameters: dict[Name, Parameter] = {}
    state: dict[Name, State] = {}
    actions: dict[Name, Action] = {}
    observes: list[Observation] = Field(default=[], description="what each agent knows when it chooses")
    reward: Expression | None = Field(default=None, description="what each agent wants, per step")
    constraints: dict[Name, Constraint] = {}
    doc: str | None = None


class Window(Table):
    """Choices that open, from one value to the whole range, while the phase progresses."""

    open: tuple[Number, Number] = Field(description="progress at which the window starts to open and is fully open")
    from_: Number = Field(alias="from", description="the only choice before the window opens")


class Learner(Table):
    """How a type of agents learns; every setting left out is taken from `default`."""

    algorithm: Literal["ppo", "policy_gradient"] | None = None
    network: Annotated[list[Positive], Field(min_length=1)] | None = Field(
        default=None, description="widths of the hidden layers"
    )
    learning_rate: Expression | None = None
    epochs: Positive | None = Field(default=None, description="passes over each batch")
    period: Positive | None = Field(default=None, description="the type learns every so many iterations")
    sample: Positive | None = Field(
        default=None,
        description="agents of the type, drawn anew for each batch, whose experience is learned from; left out: all",
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


def _types_apart(cls: type[BaseModel], value: Any) -> Any:
    """Keys that are no settings are names of agent types: gathers them under `types`."""
    if not isinstance(value, dict):
        return value
    own = {field.alias or name for name, field in cls.model_fields.items()} - {"types"}
    types = {k: v for k, v in value.items() if k not in own}
    return {**{k: v for k, v in value.items() if k in own}, **({"types": types} if types else {})}


class Phase(Learner):
    """One stretch of training; a learning setting given here holds for all types, under a type's name for that one."""

    iterations: Positive = Field(description="number of rollouts and updates")
    economies: Positive = Field(description="economies simulated in parallel")
    curriculum: Literal["running", "finished"] = Field(
        default="running",
        description="finished: all types learn, windows are open, annealed parameters have their own value",
    )
    optimizer: Literal["keep", "fresh"] = "keep"
    schedules: dict[Name, Expression] = {}
    anneal: dict[str, Window | Expression] = {}
    types: dict[Name, Learner] = {}

    @model_validator(mode="before")
    @classmethod
    def _types(cls, value: Any) -> Any:
        return _types_apart(cls, value)


class Training(Table):
    precision: Precision = Field(
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
    default: Learner = Learner()
    types: dict[Name, Learner] = {}

    @model_validator(mode="before")
    @classmethod
    def _types(cls, value: Any) -> Any:
        return _types_apart(cls, value)


def _share(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            pass
    return _number(value)


Share = Annotated[float, BeforeValidator(_share), Field(gt=0, lt=1)]


class Verify(Table):
    """How the result is judged."""

    alive: list[Expression] = Field(
        default=[], description="conditions on indicators that a result worth the name fulfils"
    )
    target: Share = Field(
        default=0.01, description="largest acceptable gain, as a share of the payoff above doing nothing"
    )
    shutdown: dict[str, Number] = Field(
        default={}, description="choices that mean doing nothing, such as baker.hours: 0"
    )
    economies: Positive = Field(default=256, description="economies in which each deviator learns")
    iterations: Positive = Field(default=400, description="iterations for which each deviator learns")
    episodes: Annotated[int, BeforeValidator(_number), Field(ge=2)] = Field(
        default=4096, description="test episodes behind each estimate"
    )
    learning_rate: Annotated[Number, Field(gt=0)] = Field(default=1e-3, description="at the start; falls to a tenth")
    epochs: Positive = Field(default=4, description="passes over each batch")
    clip: Annotated[Number, Field(gt=0)] = Field(default=0.1, description="PPO's clipping range")


# An agent type's settings stand beside these keys, so it cannot have their names.
RESERVED_TYPES = frozenset(
    (field.alias or name) for table in (Learner, Phase, Training) for name, field in table.model_fields.items()
)


class Spec(Table):
    """A model of an economy."""

    rbcc: Literal[1] = Field(description="version of the language")
    model: Name = Field(description="short name")
    title: str | None = None
    reference: str | None = Field(default=None, description="the paper or book it comes from")
    doc: str | None = None
    extends: str | None = Field(default=None, description="a spec to start from; tables are merged, null removes a key")
    use: list[str] = Field(default=[], description="Python files with primitives of your own")
    units: list[Name] = Field(default=[], description="base units; util is built in")
    horizon: Positive = Field(description="steps in an episode")
    discount: Expression | None = Field(default=None, description="discount factor per step")
    parameters: dict[Name, Parameter] = {}
    state: dict[Name, State] = Field(default={}, description="state of the economy as a whole")
    public: list[Observation] = Field(default=[], description="what 'public' in 'observes' stands for")
    agents: Annotated[dict[Name, Agent], Field(min_length=1, description="the agent types")]
    equations: dict[str, str] = Field(default={}, description="groups of equations, in any order")
    identities: dict[str, Expression] = Field(default={}, description="accounting that must hold in every step")
    invariants: list[Expression] = Field(default=[], description="conditions that must hold in every step")
    indicators: dict[Name, Expression] = Field(default={}, description="numbers shown while training and reported")
    training: Training | None = None
    verify: Verify = Verify()
    silence: list[str] | dict[str, str] = Field(
        default=[], description="codes of warnings that are not shown, or a table of codes with the reason for each"
    )


def read(document: Document, diagnostics: Diagnostics) -> tuple[Spec, Document] | None:
    """The spec in `document`, with every misfit of key and value in `diagnostics`.

    What does not fit is left out of the spec, and of the document that comes back with it, so that the rest can be
    checked too. Returns None if too little is left.
    """
    from pydantic import ValidationError

    from rbcc.compiler.misfit import Misfits

    misfits = Misfits(Spec, document, diagnostics)
    while True:
        try:
            return Spec.model_validate(misfits.document.plain), misfits.document
        except ValidationError as error:
            if not misfits.repair(error.errors()):
                return None
