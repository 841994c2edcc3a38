"""The training and verification settings of a spec, resolved: for each phase and agent type one complete record."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Diagnostics, Source, Span, messages, suggest
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE
from rbcc.compiler.schema.defaults import DEFAULTS
from rbcc.compiler.schema.spec import TARGET, Learner, Phase, Spec, Training, Window
from rbcc.compiler.semantics.context import place_of
from rbcc.compiler.semantics.expressions import Names, Scope, infer
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.targets import targets
from rbcc.compiler.source import Document, KeyPath, Scalar
from rbcc.compiler.util.toposort import Cycle, in_order


MAX_JOINT_CHOICES = 4096
# A deviator learns in so many economies in each iteration, unless the spec says in how many; in short episodes in as
# many as play so many steps.
FEWEST_ECONOMIES, FEWEST_STEPS = 64, 256


def check_training(
    spec: Spec, document: Document, names: Names, actions: tuple[ir.Action, ...]
) -> tuple[ir.Phase, ...]:
    """The phases of training with every setting resolved; a spec without `training` has none."""
    if spec.training is None:
        return ()
    return _Training(spec, spec.training, document, names, actions).phases()


class _Training:
    def __init__(
        self, spec: Spec, training: Training, document: Document, names: Names, actions: tuple[ir.Action, ...]
    ):
        self.spec, self.training, self.document, self.names = spec, training, document, names
        self.diagnostics: Diagnostics = names.diagnostics
        self.actions = {action.symbol: action for action in actions}
        self.parsed: dict[KeyPath, syntax.Expression | None] = {}
        self.learners = [owner for owner, agent in spec.agents.items() if agent.actions]

    def phases(self) -> tuple[ir.Phase, ...]:
        root: KeyPath = ("training",)
        self.known_types(self.training.types, root)
        self.known_constraints()
        phases = tuple(self.phase(name, phase) for name, phase in self.training.phases.items())
        self.same_networks(phases)
        return phases

    def same_networks(self, phases: tuple[ir.Phase, ...]) -> None:
        """A network goes through all phases, so its shape cannot change between them."""
        for phase in phases[1:]:
            for key in ("network", "joint"):
                changed = [
                    later.agent
                    for first, later in zip(phases[0].learners, phase.learners, strict=False)
                    if first.agent == later.agent and getattr(first, key) != getattr(later, key)
                ]
                if changed:
                    span = self.document.key(("training", "phases", phase.name))
                    finding = messages.training.changes_between_phases(key, changed, phases[0].name, phase.name, span)
                    self.diagnostics.add(finding)

    def known_types(self, types: dict[str, Learner], path: KeyPath) -> None:
        for name in types:
            self.names.mention(What.AGENT, name, self.document.key((*path, name)))
            if name not in self.learners and name not in self.names.broken:
                span = self.document.key((*path, name))
                settings = (*Learner.model_fields, "phases", "default", "anneal", "schedules")
                self.diagnostics.add(messages.training.no_setting(name, span, settings, self.learners))

    def known_constraints(self) -> None:
        """A multiplier is of a constraint: of the type it is set for, or of some type if it is set for all."""
        every = {name for owner in self.learners for name in self.spec.agents[owner].constraints}
        tables: list[tuple[str | None, Learner, KeyPath]] = [(None, self.training.default, ("training", "default"))]
        tables += [(owner, table, ("training", owner)) for owner, table in self.training.types.items()]
        for name, phase in self.training.phases.items():
            path: KeyPath = ("training", "phases", name)
            tables += [(None, phase, path), *((o, table, (*path, o)) for o, table in phase.types.items())]
        for owner, table, path in tables:
            known = set(self.spec.agents[owner].constraints) if owner in self.spec.agents else every
            for name in table.lagrangian or {}:
                for agent in [owner] if owner else self.learners:
                    if name in self.spec.agents[agent].constraints:
                        self.names.mention(
                            What.CONSTRAINT, f"{agent}.{name}", self.document.key((*path, "lagrangian", name))
                        )
                if name not in known and name not in self.names.broken:
                    self.diagnostics.add(
                        messages.training.no_constraint(
                            owner, name, self.document.key((*path, "lagrangian", name)), known
                        )
                    )

    def phase(self, name: str, phase: Phase) -> ir.Phase:
        path: KeyPath = ("training", "phases", name)
        self.known_types(phase.types, path)
        finished = phase.curriculum == "finished"
        starts = {owner: Fraction(0) if finished else self.starts(owner, name, phase) for owner in self.learners}
        schedules, scope = self.schedules(name, phase, starts)
        anneal, windows = ((), ()) if finished else self.anneal(name, phase, scope)
        learners = tuple(self.learner(owner, name, phase, scope, starts[owner]) for owner in self.learners)
        until = () if phase.until is None else targets(phase.until, (*path, "until"), self.document, self.names)
        return ir.Phase(
            name,
            phase.iterations,
            phase.economies,
            tuple((agent, target) for agent, target in until if agent in self.learners),
            phase.optimizer == "fresh",
            schedules,
            anneal,
            windows,
            tuple(learner for learner in learners if learner is not None),
        )

    # --- where a setting comes from ----------------------------------------------------------------------------

    def sources(self, owner: str, name: str, phase: Phase) -> Iterator[tuple[Learner, KeyPath]]:
        """The tables in which a setting of `owner` is looked up, the most specific first."""
        yield phase.types.get(owner, Learner()), ("training", "phases", name, owner)
        yield phase, ("training", "phases", name)
        yield self.training.types.get(owner, Learner()), ("training", owner)
        yield self.training.default, ("training", "default")

    def setting(self, key: str, owner: str, name: str, phase: Phase) -> tuple[object, KeyPath | None]:
        for table, path in self.sources(owner, name, phase):
            if getattr(table, key) is not None:
                return getattr(table, key), (*path, key)
        return getattr(DEFAULTS, key), None

    def starts(self, owner: str, name: str, phase: Phase) -> Fraction:
        value, _ = self.setting("starts", owner, name, phase)
        return Fraction(repr(value))

    # --- schedules ---------------------------------------------------------------------------------------------

    def schedules(self, name: str, phase: Phase, starts: dict[str, Fraction]) -> tuple[tuple[ir.Statement, ...], Scope]:
        clock = Type(unit=ONE, time=Time.FIXED)
        place = ir.Place(self.document.sources[0].name, 1, 1)
        local = {
            word: ir.Symbol(f"@{word}", Role.CLOCK, None, (), clock, None, place) for word in ("progress", "iteration")
        }
        texts: dict[str, KeyPath] = {key: ("training", "schedules", key) for key in self.training.schedules}
        texts |= {key: ("training", "phases", name, "schedules", key) for key in phase.schedules}
        nodes: dict[str, syntax.Expression] = {}
        for key, path in texts.items():
            self.names.mention(What.SYMBOL, f"@schedule.{key}", self.document.key(path), self.document.extent(path))
            node = self.parse(path)
            if node is not None:
                nodes[key] = node
        self.check_names(texts)
        for key in nodes:
            local[key] = ir.Symbol(f"@schedule.{key}", Role.CLOCK, None, (), clock, None, place)
        offers = f"progress, iteration, since(type), parameters{', ' if nodes else ''}{', '.join(nodes)}"
        scope = Scope("a schedule", latest=Time.FIXED, local=local, since=starts, offers=offers)
        needs = {key: [r.name for r in syntax.references(node) if r.name in nodes] for key, node in nodes.items()}
        try:
            order = in_order(needs)
        except Cycle as cycle:
            self.diagnostics.add(
                messages.training.schedules_need_each_other(
                    cycle.path, [self.document.key(texts[name]) for name in cycle.path]
                )
            )
            return (), scope
        statements = []
        for key in order:
            value = self.scalar(nodes[key], scope, f"schedule '{key}'")
            if value is not None:
                statements.append(ir.Statement(key, (), value, place_of(self.document.key(texts[key]))))
        return tuple(statements), scope

    def check_names(self, texts: dict[str, KeyPath]) -> None:
        """A schedule cannot have the name of something that schedules may use."""
        symbols = self.names.symbols
        for key, path in texts.items():
            span = self.document.key(path)
            if self.names.refuse("schedule ", key, span):
                continue
            if key in ("progress", "iteration", "since"):
                self.diagnostics.add(messages.names.schedule_hides_word(key, span))
            elif key in symbols and symbols[key].role is Role.PARAMETER:
                self.diagnostics.add(messages.names.schedule_hides_parameter(key, span, self.names.spans[key]))

    def parse(self, path: KeyPath) -> syntax.Expression | None:
        """The expression at a place, which may hold for several types and phases."""
        if path not in self.parsed:
            self.parsed[path] = syntax.parse_expression(self.document.scalar(path), self.diagnostics)
        return self.parsed[path]

    def scalar(self, node: syntax.Expression, scope: Scope, what: str) -> ir.Expression | None:
        value = infer(node, scope, self.names)
        if value is not None and (value.type.axes or value.type.kind is Kind.CHOICE):
            self.diagnostics.add(messages.training.not_a_single_number(what, node.span))
            return None
        return value

    # --- what changes while training ---------------------------------------------------------------------------

    def anneal(self, name: str, phase: Phase, scope: Scope) -> tuple[tuple[ir.Statement, ...], tuple[ir.Window, ...]]:
        entries = {key: (value, ("training", "anneal", key)) for key, value in self.training.anneal.items()}
        entries |= {key: (value, ("training", "phases", name, "anneal", key)) for key, value in phase.anneal.items()}
        parameters, windows = [], []
        for key, (value, path) in entries.items():
            self.names.mention(What.SYMBOL, key, self.document.key(path))
            if isinstance(value, Window):
                window = self.window(key, value, path)
                if window is not None:
                    windows.append(window)
                continue
            symbol = self.names.symbols.get(key)
            if symbol is None or symbol.role is not Role.PARAMETER or symbol.sets:
                self.no_parameter(key, path, symbol)
                continue
            node = self.parse(path)
            expression = self.scalar(node, scope, f"'{key}'") if node is not None else None
            if expression is not None:
                parameters.append(ir.Statement(key, (), expression, place_of(self.document.key(path))))
        return tuple(parameters), tuple(windows)

    def no_parameter(self, key: str, path: KeyPath, symbol: ir.Symbol | None) -> None:
        """Reports that `key` is not a parameter, or a parameter with an index."""
        if key in self.names.broken:
            return
        known = [s.name for s in self.names.symbols.values() if s.role is Role.PARAMETER and not s.sets]
        meant = symbol or next(iter(self.names.candidates(key)), None)
        meaning = None
        if meant is not None and meant.role is Role.PARAMETER:
            meaning = "a parameter with an index"
        elif meant is not None:
            meaning = meant.role.noun + (f" of {meant.owner}" if meant.owner else "")
        self.diagnostics.add(messages.training.not_annealable(key, meaning, self.document.key(path), known))

    def window(self, key: str, window: Window, path: KeyPath) -> ir.Window | None:
        action = self.actions.get(key)
        if action is None or not action.choices or action.of is not None:
            close = _choice_like(key, [name for name, a in self.actions.items() if a.choices and a.of is None])
            if key.rpartition(".")[2] not in self.names.broken:
                self.diagnostics.add(messages.training.not_a_list_of_numbers(key, self.document.key(path), close))
            return None
        begin, end = window.open
        if not 0 <= begin <= end <= 1:
            self.diagnostics.add(messages.training.window_out_of_order(self.document.span((*path, "open"))))
            return None
        if not any(math.isclose(window.from_, choice) for choice in action.choices):
            self.diagnostics.add(
                messages.training.not_among_choices(
                    "RB702", window.from_, key, action.choices, self.document.span((*path, "from"))
                )
            )
            return None
        return ir.Window(key, window.from_, begin, end)

    # --- learners ----------------------------------------------------------------------------------------------

    def learner(self, owner: str, name: str, phase: Phase, scope: Scope, starts: Fraction) -> ir.Learner | None:
        values: dict[str, ir.Expression | None] = {}
        for key in ir.SCHEDULED:
            values[key] = self.expression(key, owner, name, phase, scope)
        lagrangian = []
        for table, path in reversed(list(self.sources(owner, name, phase))):
            for constraint in table.lagrangian or {}:
                if constraint not in self.spec.agents[owner].constraints:
                    continue
                node = self.parse((*path, "lagrangian", constraint))
                step = self.scalar(node, scope, "the step of a multiplier") if node is not None else None
                if step is not None:
                    lagrangian = [pair for pair in lagrangian if pair[0] != constraint] + [(constraint, step)]
        if any(values[key] is None for key in ir.SCHEDULED if key != "value_clip"):
            return None
        plain = {
            key: self.setting(key, owner, name, phase)[0]
            for key in ("algorithm", "network", "epochs", "period", "explorers")
        }
        if plain["algorithm"] == "pathwise":
            self.smooth(owner, name, phase)
        elif self.spec.agents[owner].takes_as_given:
            _, path = self.setting("algorithm", owner, name, phase)
            span = self.document.span(path or ("training",))
            self.diagnostics.add(messages.training.nothing_to_take_as_given(owner, span))
        return ir.Learner(
            agent=owner,
            network=tuple(plain.pop("network")),  # type: ignore[arg-type]
            starts=float(starts),
            joint=self.joint(owner, name, phase),
            lagrangian=tuple(lagrangian),
            **plain,  # type: ignore[arg-type]
            **values,  # type: ignore[arg-type]
        )

    def smooth(self, owner: str, name: str, phase: Phase) -> None:
        """A derivative through the model needs choices that can be moved a little, of all types."""
        _, path = self.setting("algorithm", owner, name, phase)
        for action in self.actions.values():
            if action.size > 1:
                self.diagnostics.add(
                    messages.training.no_derivative(owner, action.symbol, self.document.span(path or ("training",)))
                )
                return

    def expression(self, key: str, owner: str, name: str, phase: Phase, scope: Scope) -> ir.Expression | None:
        value, path = self.setting(key, owner, name, phase)
        if value is None:
            return None
        node = _default(key) if path is None else self.parse(path)
        return self.scalar(node, scope, f"'{key}'") if node is not None else None

    def joint(self, owner: str, name: str, phase: Phase) -> tuple[str, ...]:
        value, path = self.setting("joint", owner, name, phase)
        chosen: list[str] = value or []  # type: ignore[assignment]
        size, span = 1, self.document.span(path or ("training",))
        for position, action in enumerate(chosen):
            if path is not None:
                self.names.mention(What.SYMBOL, f"{owner}.{action}", self.document.span((*path, position)))
            declared = self.actions.get(f"{owner}.{action}")
            if declared is None or not declared.choices or self.spec.agents[owner].actions[action].over is not None:
                self.diagnostics.add(
                    messages.training.not_drawn_jointly(owner, action, span, self.spec.agents[owner].actions)
                )
                return ()
            size *= declared.size
        if size > MAX_JOINT_CHOICES:
            self.diagnostics.add(messages.training.too_many_joint(len(chosen), size, MAX_JOINT_CHOICES, span))
            return ()
        if chosen and (len(set(chosen)) < 2 or len(set(chosen)) < len(chosen)):
            self.diagnostics.add(messages.training.nothing_to_join(chosen, span))
            return ()
        return tuple(f"{owner}.{action}" for action in chosen)


@cache
def _default(key: str) -> syntax.Expression | None:
    text = str(getattr(DEFAULTS, key))
    source = Source("default settings", text)
    return syntax.parse_expression(Scalar(text, text, Span(source, 0, len(text))), Diagnostics())


def check_verification(
    spec: Spec,
    document: Document,
    names: Names,
    actions: tuple[ir.Action, ...],
    indicators: tuple[ir.Statement, ...],
) -> ir.Verification:
    """The verification settings; conditions of `alive` speak of indicators."""
    verify, diagnostics = spec.verify, names.diagnostics
    place = ir.Place(document.sources[0].name, 1, 1)
    local = {
        i.name: ir.Symbol(
            f"@indicator.{i.name}",
            Role.VALUE,
            None,
            (),
            replace(i.expression.type, kind=Kind.NUMBER, time=Time.FIXED),  # a mean over economies and steps
            None,
            place,
        )
        for i in indicators
    }
    offers = f"indicators: {', '.join(local) or 'this spec has none'}"
    scope = Scope("a condition of 'alive'", latest=Time.FIXED, local=local, bare_numbers=True, offers=offers)
    alive = []
    for position, text in enumerate(verify.alive):
        node = syntax.parse_expression(document.scalar(("verify", "alive", position)), diagnostics)
        condition = infer(node, scope, names) if node is not None else None
        if node is None or condition is None:
            continue
        if condition.type.kind is not Kind.FLAG:
            diagnostics.add(messages.training.not_a_condition(condition.type.kind, " ".join(text.split()), node.span))
            continue
        alive.append(ir.Statement(" ".join(text.split()), (), condition, place_of(node.span)))
    offered = {action.symbol: action for action in actions}
    for key, value in verify.shutdown.items():
        key_span, span = document.key(("verify", "shutdown", key)), document.span(("verify", "shutdown", key))
        names.mention(What.SYMBOL, key, key_span)
        if key not in offered and key.rpartition(".")[2] in names.broken:
            continue
        if key not in offered:
            close = _choice_like(key, offered)
            diagnostics.add(messages.training.no_choice(key, key_span, close, offered))
        elif offered[key].bounds:
            if not 0 <= value <= 1:
                diagnostics.add(messages.training.outside_interval(key, span))
        elif offered[key].shares:
            agent = names.agents[names.symbols[key].sets[-1]]
            if value not in range(agent.count):
                diagnostics.add(messages.training.no_member(key, agent.name, agent.count, span))
        elif not offered[key].choices:
            continue  # its interval was reported
        elif not any(math.isclose(value, choice, abs_tol=1e-12) for choice in offered[key].choices):
            diagnostics.add(messages.training.not_among_choices("RB703", value, key, offered[key].choices, span))
    return ir.Verification(
        tuple(alive),
        tuple(targets(verify.target, ("verify", "target"), document, names, TARGET)),
        tuple(verify.shutdown.items()),
        verify.economies or max(FEWEST_ECONOMIES, FEWEST_STEPS // spec.horizon),
        verify.iterations,
        verify.episodes,
        verify.learning_rate,
        verify.epochs,
        verify.clip,
    )


def _choice_like(key: str, actions: Iterable[str]) -> str | None:
    """The choice that `key` is meant to be: one of that name without its type, or the nearest."""
    known = list(actions)
    return next((name for name in known if name.rpartition(".")[2] == key), None) or suggest(key, known)
