"""A model as a page for people: what `rbcc doc` shows, before it is Markdown, HTML or LaTeX."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting import FlowTable
from rbcc.compiler.analysis.accounting.render import grid
from rbcc.compiler.backends.docs.math import Typesetter, example, name, text as latex_text, width
from rbcc.compiler.ir.types import Role, Time
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.util.text import counted


@dataclass(frozen=True)
class Code:
    """A name, or other text of the spec, as it is written there."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A formula, and the text of the spec that it shows, for forms that have no formulas within a line."""

    latex: str
    text: str


@dataclass(frozen=True)
class Name:
    """A declared name as a formula, and as the spec has it."""

    latex: str
    text: str

    @property
    def looks_different(self) -> bool:
        """Whether a reader could not tell the name from the formula, as with Greek letters."""
        return len(self.text) > 1 and rf"\mathit{{{latex_text(self.text)}}}" not in self.latex


Inline = str | Code | Formula | Name


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    parts: tuple[Inline, ...]


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[Inline, ...], ...]


@dataclass(frozen=True)
class Equation:
    """`left relation right`, the right side on one or more lines, with the author's comment."""

    left: str
    relation: str
    right: tuple[str, ...]
    name: str
    note: str | None


@dataclass(frozen=True)
class Equations:
    rows: tuple[Equation, ...]


@dataclass(frozen=True)
class Stage:
    """One stage of a step: groups of names, each with the agent type or group of equations that it belongs to."""

    title: str
    when: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Timing:
    """The stages of a step in their order; the last leads back to the first."""

    stages: tuple[Stage, ...]


def stage_lines(stage: Stage, width: int) -> Iterator[tuple[str, str]]:
    """The lines of a stage in a diagram, `width` letters wide: the name of each group, then the names in it."""
    for group, names in stage.groups:
        yield "group", group if len(group) <= width else group[: width - 1] + "…"
        for line in textwrap.wrap(", ".join(names), width - 2, break_on_hyphens=False):
            yield "name", line


Block = Heading | Paragraph | Table | Equations | Timing


@dataclass(frozen=True)
class Page:
    title: str
    blocks: tuple[Block, ...]


def page(model: ir.Model, tables: Sequence[FlowTable]) -> Page:
    """The page of a model, with the flow tables of its accounts."""
    return Page(model.title or model.name, tuple(_Writer(model, tables).blocks()))


class _Writer:
    def __init__(self, model: ir.Model, tables: Sequence[FlowTable]):
        self.model, self.tables = model, tables
        self.typesetter = Typesetter(model)
        self.symbols = {symbol.name: symbol for symbol in model.symbols}

    def blocks(self) -> Iterator[Block]:
        yield from self.summary()
        yield Heading(2, "Timing of a step")
        yield self.timing()
        yield Heading(2, "Agents")
        for agent in self.model.agents:
            yield from self.agent(agent)
        yield from self.section("State of the economy", [self.states(None)])
        yield from self.section("Parameters", [self.parameters(None)])
        yield Heading(2, "Equations")
        yield from self.equations()
        yield from self.section("Accounts", [*self.accounts()])
        yield from self.section("What holds in every step", [*self.identities(), *self.invariants()])
        yield from self.section("Indicators", [self.indicators()])
        yield from self.section("Functions", [self.functions()])
        yield from self.sources()

    def section(self, title: str, blocks: list[Block | None]) -> Iterator[Block]:
        """A heading over those blocks that the model has, if any."""
        present = [block for block in blocks if block is not None]
        if present:
            yield Heading(2, title)
            yield from present

    # --- the whole ---------------------------------------------------------------------------------------------

    def summary(self) -> Iterator[Block]:
        model = self.model
        if model.doc:
            yield Paragraph((model.doc,))
        agents = ", ".join(f"{agent.name} ({agent.count})" for agent in model.agents)
        found: list[Inline] = [Code(model.name), f": agents are {agents}; an episode has {model.length}."]
        if model.reference:
            found.append(f" Source: {model.reference}.")
        yield Paragraph(tuple(found))

    def timing(self) -> Timing:
        values = [definition for definition in self.model.equations if self.role(definition) is Role.VALUE]
        early = [d for d in values if self.symbols[d.symbol].type.time <= Time.NOW]
        late = [d for d in values if self.symbols[d.symbol].type.time > Time.NOW]
        rewards = tuple(agent.name for agent in self.model.agents if f"{agent.name}.reward" in self.symbols)
        draws = any(isinstance(node, ir.Draw) for d in self.model.equations for node in ir.walk(d.expression))
        order = "with draws, in this order" if draws else "in this order"
        follows = (*_by_group(late), *([("rewards", rewards)] if rewards else []))
        known = self.named(lambda s: s.role is Role.STATE and not s.name.endswith("'"))
        return Timing(
            (
                Stage("Known", "at the start of the step", (*known, *_by_group(early))),
                *(self.chosen(number) for number in range(self.model.stages)),
                Stage("Follows", order, follows),
                Stage("Next", "known in the next step", self.named(lambda s: s.name.endswith("'"))),
            )
        )

    def chosen(self, stage: int) -> Stage:
        """What those choose who choose at the same time."""
        owners = {agent.name for agent in self.model.agents if agent.stage == stage}
        when = "by all at the same time" if self.model.stages == 1 else "at the same time"
        if stage:
            when = "after these"
        return Stage("Chosen", when, self.named(lambda s: s.role is Role.ACTION and s.owner in owners))

    def named(self, wanted: Callable[[ir.Symbol], bool]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The names of the symbols that are wanted, by owner."""
        owners = [agent.name for agent in self.model.agents] + [None]
        found = []
        for owner in owners:
            names = tuple(_short(s.name) for s in self.model.symbols if s.owner == owner and wanted(s))
            if names:
                found.append((owner or "economy", names))
        return tuple(found)

    def role(self, definition: ir.Definition) -> Role:
        return self.symbols[definition.symbol].role

    def sources(self) -> Iterator[Block]:
        yield Heading(2, "Sources")
        if self.model.reference:
            yield Paragraph((self.model.reference,))
        files = [Path(file).name for file in self.model.files]
        parts: list[Inline] = ["This page was made by rbcc from "]
        for file in files:
            parts += [Code(file), ", " if file is not files[-1] else "."]
        yield Paragraph(tuple(parts))

    # --- agents ------------------------------------------------------------------------------------------------

    def agent(self, agent: ir.Agent) -> Iterator[Block]:
        yield Heading(3, agent.name)
        yield Paragraph(tuple(self.description(agent)))
        for title, table in (("Is", self.parameters(agent.name)), ("Owns", self.states(agent.name))):
            if table is not None:
                yield Heading(4, title)
                yield table
        actions = [action for action in self.model.actions if self.symbols[action.symbol].owner == agent.name]
        if actions:
            yield Heading(4, "Chooses")
            yield from filter(None, [_table(("name", "choices", "unit", "meaning"), map(self.action, actions))])
        for observation in self.model.observations:
            if observation.agent == agent.name and observation.features:
                yield Heading(4, "Knows")
                yield self.knowledge(observation)
        if agent.given:
            yield Heading(4, "Takes as given")
            names = [part for name in agent.given for part in (", ", self.name_of(self.symbols[name]))][1:]
            yield Paragraph((*names, ": its payoff counts as if what it does alone did not change them."))
        rewards = [d for d in self.model.equations if d.symbol == f"{agent.name}.reward"]
        if rewards:
            yield Heading(4, "Wants")
            yield Equations(tuple(map(self.equation, rewards)))
            if agent.discount is not None and self.model.ends_after != 1:
                factor = Formula(self.typesetter.number(agent.discount), ir.show(agent.discount))
                yield Paragraph(("A reward of the next step weighs ", factor, " times one of this step."))
        constraints = [c for c in self.model.constraints if c.agent == agent.name]
        if constraints:
            yield Heading(4, "Is held to")
            yield Equations(tuple(map(self.constraint, constraints)))

    def description(self, agent: ir.Agent) -> Iterator[Inline]:
        if agent.doc:
            yield f"{agent.doc}. "
        yield counted(agent.count, "agent")
        for number, index in enumerate(agent.indices):
            yield ", index " if number == 0 else " or "
            yield Formula(self.typesetter.index(index), index)
        yield "."

    def name_of(self, symbol: ir.Symbol) -> Name:
        return Name(self.typesetter.symbol(symbol.name, symbol.type.axes), _short(symbol.name))

    def parameters(self, owner: str | None) -> Table | None:
        rows = [d for d in self.model.parameters if self.symbols[d.symbol].owner == owner]
        return self.values("value", " = ", rows)

    def states(self, owner: str | None) -> Table | None:
        rows = [d for d in self.model.starts if self.symbols[d.symbol].owner == owner]
        return self.values("start", " starts at ", rows)

    def values(self, what: str, sign: str, definitions: Iterable[ir.Definition]) -> Table | None:
        rows = []
        for definition in definitions:
            symbol = self.symbols[definition.symbol]
            expression = definition.expression
            constant = isinstance(expression, ir.Constant)
            text = ir.show(expression) if constant else definition.text.partition(sign)[2]
            value = Formula(self.typesetter.number(expression), text)
            rows.append((self.name_of(symbol), value, _unit(symbol), symbol.doc or ""))
        return _table(("name", what, "unit", "meaning"), rows)

    def action(self, action: ir.Action) -> tuple[Inline, ...]:
        symbol = self.symbols[action.symbol]
        over = [owner for owner in symbol.sets if owner != symbol.owner]
        choices = action.words + (f", for each {over[0]}" if over else "")
        return self.name_of(symbol), choices, _unit(symbol), symbol.doc or ""

    def knowledge(self, observation: ir.Observation) -> Paragraph:
        parts: list[Inline] = []
        for owners, features in groupby(observation.features, lambda f: [self.model.set_of(axis) for axis in f.axes]):
            parts += ["; " if parts else ""]
            for number, feature in enumerate(features):
                parts += [", " if number else "", Formula(self.typesetter.number(feature.expression), feature.name)]
            parts += [f" of every {' and '.join(owners)}"] if owners else []
        return Paragraph((*parts, "."))

    # --- equations ---------------------------------------------------------------------------------------------

    def equation(self, definition: ir.Definition) -> Equation:
        left, right = self.typesetter.definition(definition)
        return Equation(left, "=", tuple(right), _short(definition.symbol), definition.doc)

    def equations(self) -> Iterator[Block]:
        """The equations by group, in each as the author wrote them; groups in the order of evaluation."""
        groups: dict[str, list[ir.Definition]] = {}
        for system in ir.systems(self.model):
            yield from self.system(system)
        for definition in self.model.equations:
            if definition.group is not None and not isinstance(definition.expression, ir.Root):
                groups.setdefault(definition.group, []).append(definition)
        for group, definitions in groups.items():
            yield Heading(3, group)
            definitions.sort(key=lambda definition: definition.place.line)
            yield Equations(tuple(map(self.equation, definitions)))

    def system(self, system: ir.System) -> Iterator[Block]:
        """The equations that are solved, and for what."""
        yield Heading(3, system.name)
        rows = []
        for one in system.equations:
            left, right = self.typesetter.equality(one.left, one.right)
            rows.append(Equation(left, "=", tuple(right), one.text, one.doc))
        yield Equations(tuple(rows))
        parts: list[Inline] = ["Solved in each step for "]
        for number, unknown in enumerate(system.unknowns):
            shown = f"{unknown.symbol} between {ir.show(unknown.low)} and {ir.show(unknown.high)}"
            parts += [", " if number else "", Formula(self.typesetter.interval(unknown), shown)]
            symbol = self.symbols[unknown.symbol]
            about = ", ".join(part for part in (symbol.doc, _unit(symbol)) if part)
            parts += [f" ({about})"] if about else []
        yield Paragraph((*parts, "."))

    def constraint(self, constraint: ir.Constraint) -> Equation:
        left = name(constraint.name, [constraint.index] if constraint.index else [])
        note = f"how far it is violated, {'at the end of an episode' if constraint.at_end else 'in every step'}"
        return Equation(left, "=", tuple(self.typesetter.lines(constraint.violation)), constraint.name, note)

    def accounts(self) -> Iterator[Block]:
        """The flow table of each account: who gets (+) and who pays (-) what."""
        for table in self.tables:
            (title, *head), *rows = grid(self.model, table)
            yield Heading(4, title)
            if table.gave_up:
                yield Paragraph(
                    (
                        "What flows could not be found: the equations take too much work. ",
                        Code("rbcc check"),
                        " tests with random numbers that it balances.",
                    )
                )
                continue
            yield Table(("flow", *head), tuple((*row[:-1], Code(row[-1]) if row[-1] else "") for row in rows))

    def identities(self) -> Iterator[Block]:
        for identity in self.model.identities:
            yield Heading(4, identity.name)
            left, right = self.typesetter.number(identity.left), self.typesetter.lines(identity.right)
            if width(left) > 30:
                row = Equation("", "", (left, f"= {right[0]}", *right[1:]), identity.name, None)
            else:
                row = Equation(left, "=", tuple(right), identity.name, None)
            yield Equations((row,))

    def invariants(self) -> Iterator[Block]:
        rows = [
            Equation("", "", (self.typesetter.formula(statement.expression),), statement.name, None)
            for statement in self.model.invariants
        ]
        if rows:
            yield Heading(4, "bounds")
            yield Equations(tuple(rows))

    def indicators(self) -> Table | None:
        rows = [
            (Code(s.name), Formula(self.typesetter.number(s.expression), ir.show(s.expression)))
            for s in self.model.indicators
        ]
        return _table(("name", "value"), rows)

    def functions(self) -> Table | None:
        rows = []
        for primitive in self.model.primitives:
            call = f"{primitive.name}({', '.join(primitive.arguments)}{', ...' if primitive.variadic else ''})"
            if primitive.inline is None:
                rows.append((Code(call), Formula(example(primitive), call), " ".join(primitive.doc.split())))
        return _table(("function", "formula", "meaning"), rows)


def printable(words: str) -> str:
    """Words on one line, with characters that are not to be seen (controls, changes of direction) replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in re.sub(r"\s+", " ", words))


def _table(head: tuple[str, ...], rows: Iterable[tuple[Inline, ...]]) -> Table | None:
    """A table without the columns that are empty, or nothing if there are no rows."""
    rows = list(rows)
    kept = [k for k in range(len(head)) if any(row[k] != "" for row in rows)]
    return Table(tuple(head[k] for k in kept), tuple(tuple(row[k] for k in kept) for row in rows)) if rows else None


def _by_group(definitions: Iterable[ir.Definition]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The names that equations define, by group, groups in the order in which they are met."""
    groups: dict[str, list[str]] = {}
    for definition in definitions:
        groups.setdefault(definition.group or "", []).append(_short(definition.symbol))
    return tuple((group, tuple(names)) for group, names in groups.items())


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _unit(symbol: ir.Symbol) -> str:
    return "" if symbol.type.unit in (None, ONE) else str(symbol.type.unit)
