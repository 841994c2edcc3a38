"""A verification in words, as the command line and pages print it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rbcc.compiler.util.text import counted
from rbcc.runtime.reports.gains import gains
from rbcc.runtime.reports.numbers import duration, number, percent
from rbcc.runtime.verification.best_response.search import POWER
from rbcc.runtime.verification.explanation import NEARLY, Choice
from rbcc.runtime.verification.results import Equilibrium, Open, Row, Verdict
from rbcc.runtime.verification.ties import Ties


HEAD = ("type", "deviation", "payoff", "gain", "in %", "lower", "upper", "best deviator", "power", "verdict")
NUMBERS = ("payoff", "gain", "in %", "lower", "upper", "power")
SHORT = ("type", "deviation", "in %", "lower", "upper", "best deviator", "verdict")
DECIDES = 0.5
"""The weight of what follows after the last step from which on a summary says so."""
SHOWN = 5
"""Findings that a summary shows."""


def gain_rows(result: Equilibrium) -> Iterator[tuple[str, ...]]:
    """The table of gains, under `HEAD`; where they are exact, from what was found to what there is at most."""
    for row in gains(result):
        yield (
            row.type,
            row.deviation,
            number(row.payoff),
            number(row.gain),
            *map(percent, (row.share, row.share_lower, row.share_upper)),
            row.best_deviator,
            "-" if row.power is None else f"{min(row.power, 1):.0%}",
            str(row.verdict),
        )


def question(result: Equilibrium) -> str:
    return (
        f"How much could an agent gain by deviating? In % of its {result.scale}; bounds are of the deviation found and "
        f"hold together, one-sided, {confidence(result)}."
    )


def confidence(result: Equilibrium) -> str:
    """The confidence of a verification in percent, with three digits of what it lacks."""
    lacking = float(f"{100 * (1 - result.settings['confidence']):.3g}")
    return f"{100 - lacking:.10g}%"


def findings(result: Equilibrium) -> Iterator[str]:
    """What there is to say besides the gains, a line each."""
    yield from _improvement_line(result)
    yield from _pairing_line(result.rows)
    yield from _few_lines(result.rows)
    yield from _single_lines(result.rows)
    yield from _exact_lines(result.rows)
    if not result.rows:
        yield "nothing to ask: no type has a choice, so no one can deviate"
    yield from _reasons(result)
    for one in (row.estimate for row in result.rows):
        if one.left_out:
            tried = "; ".join(candidate.words for candidate in one.left_out)
            yield f"left out, for a payoff that is not a finite number: {one.question}: {tried}"
    yield from _after_lines(result, 0.0)
    for agent, values in result.given.items():
        names = ", ".join(values)
        yield f"taken as given: {names}, by {agent} alone; with its influence on {names} it may gain more (Nash)"
    yield from (f"side effect: {line}" for line in _side_effects(result.rows))
    yield from (f"edge: {line}" for line in result.edges)
    yield from _tie_lines(result.ties)
    yield from (f"planted: {plant}" for plant in result.plants)
    yield from _worse(result)
    alive = ", ".join(f"{name}: {'yes' if ok else 'NO'}" for name, ok in result.alive.items()) or "not asked"
    yield f"alive: {alive}"
    settings = result.settings
    yield (
        f"deviators: {settings['iterations']} iterations of {settings['economies']} economies each; "
        f"{settings['test_episodes']} test episodes; seed {settings['seed']}; {duration(result.seconds)}"
    )


def verification_table(result: Equilibrium) -> str:
    """All that a verification says: the verdicts, the table of gains, and every finding."""
    lines = [
        *verdict_lines(result),
        "",
        question(result),
        "",
        *_gains(HEAD, gain_rows(result), 160),
        "",
        *_budget_lines(result.rows),
        *(f"what pays: {who}: {_parts(parts)}" for who, parts in explanations(result.rows)),
        *findings(result),
    ]
    return "\n".join(lines)


def verification_summary(result: Equilibrium) -> str:
    """The verdicts, the table of gains as it fits into 80 columns, and what there is to know at once."""
    kept = [HEAD.index(name) for name in SHORT]
    rows = [[row[place] for place in kept] for row in gain_rows(result)]
    found = list(_important(result))
    more = [f"and {counted(len(found) - SHOWN, 'more finding')}"] if len(found) > SHOWN else []
    lines = [
        *verdict_lines(result),
        "",
        f"gain from deviating, in % of the {result.scale.partition(' (')[0]}; bounds are one-sided, {confidence(result)}:",
        *_gains(SHORT, rows, 80),
        *([""] if found else []),
        *found[:SHOWN],
        *more,
    ]
    return "\n".join(lines)


def _gains(head: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """The lines of a table of gains, at most `width` wide if names of deviators can be cut to that."""
    cells = [list(head), *map(list, rows)]
    named = head.index("best deviator")
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    least = len(head[named])
    room = max(least, width - sum(widths) + widths[named] - 2 * (len(head) - 1))
    widths[named] = min(widths[named], room)
    for row in cells:
        if len(row[named]) > room:
            row[named] = row[named][: room - 1] + "…"
        aligned = [
            cell.rjust(wide) if name in NUMBERS else cell.ljust(wide)
            for name, cell, wide in zip(head, row, widths, strict=True)
        ]
        yield "  ".join(aligned).rstrip()


def _important(result: Equilibrium) -> Iterator[str]:
    """What bears on the verdicts, or on how to read them."""
    yield from (f"not alive: {name} does not hold" for name, ok in result.alive.items() if not ok)
    yield from (f"what pays: {who}: {_parts(parts)}" for who, parts in explanations(result.rows))
    yield from _reasons(result)
    yield from (f"planted: {plant}" for plant in result.plants)
    yield from _single_lines(
        [
            row
            for row in result.rows
            if row.estimate.exact is None and row.single and row.single.member.gain.amount.value > row.estimate.limit
        ]
    )
    yield from _after_lines(result, DECIDES)
    yield from (f"edge: {line}" for line in result.edges)
    yield from _tie_lines(result.ties)


def verdict_lines(result: Equilibrium) -> Iterator[str]:
    """The two questions, each with its answer, in columns."""
    answers = list(headlines(result))
    width = max(len(words) for words, _ in answers)
    yield from (f"{words:<{width}}  {verdict}" for words, verdict in answers)


def headlines(result: Equilibrium) -> Iterator[tuple[str, Verdict]]:
    """The two questions, each with its answer."""
    target = targets(result)
    nash = "Nash" if not result.given else "competitive"
    yield f"no agent gains more than {target} alone ({nash}):", result.verdicts["individual"]
    yield f"no type gains more than {target} acting as one (team):", result.verdicts["team"]


def targets(result: Equilibrium) -> str:
    """The target, for each type where they differ."""
    shown = {agent: str(target) for agent, target in result.targets.items()}
    if len(set(shown.values())) <= 1:
        return next(iter(shown.values()), "0%")
    return "the target (" + ", ".join(f"{agent} {target}" for agent, target in shown.items()) + ")"


def _budget_lines(rows: tuple[Row, ...]) -> Iterator[str]:
    """Gain against budget, in %, of the best deviator that learned."""
    for row in rows:
        one, curve = row.estimate, row.estimate.curve[1:]
        shown = ", ".join(f"{c.iterations}: {percent(c.gain / one.scale if one.scale else None)}" for c in curve)
        yield f"gain by iterations, on selection seeds, {one.question} ({curve[-1].origin}): {shown}"


def _improvement_line(result: Equilibrium) -> Iterator[str]:
    """The measure of Curry et al. (2022), where it is another than that of the table."""
    if result.rows and result.settings["shutdown"]:
        shown = ", ".join(f"{row.estimate.question} {percent(row.of_improvement)}" for row in result.rows)
        yield f"gain in % of what training improved on untrained play: {shown}"


def _pairing_line(rows: tuple[Row, ...]) -> Iterator[str]:
    """How much noise it saves to compare the same episodes."""
    found = [one for one in (row.estimate for row in rows) if one.pairing is not None]
    if found:
        shown = ", ".join(f"{one.question} {number(one.pairing)}" for one in found)
        yield f"variance of a gain without paired episodes, times that with them: {shown}"


def _few_lines(rows: tuple[Row, ...]) -> Iterator[str]:
    """Where a few episodes decide on a gain."""
    for one in (row.estimate for row in rows):
        if one.gain.few:
            yield f"few episodes decide on the gain of {one.question}: bounds that rest on them are wide (Cantelli)"


def _single_lines(rows: Iterable[Row]) -> Iterator[str]:
    """For types of several agents the one whose own gain is surest."""
    for row in rows:
        one = row.estimate
        if row.single is not None and row.single.share_lower is not None:
            which, gain = row.single.member.number, row.single.member.gain
            shares = f"{percent(gain.share and gain.share.value)}, lower bound {percent(row.single.share_lower)}"
            yield f"surest gain of one {one.agent}: {shares} (index {which})"
        elif one.agents > 1 and one.notions == ("individual",) and row.single is None:
            yield f"too few test episodes (verify.episodes) to tell the gain of each {one.agent}: only the mean is judged"


def explanations(rows: Sequence[Row]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Who gains, and the choices that it gains by, each group with what it adds."""
    for row in rows:
        one, why = row.estimate, row.explanation
        if why is not None:

            def share(x: float, scale: float = one.scale) -> str:
                return percent(x / scale) if scale else number(x)

            alone = "individual" in one.notions
            who = one.agent if one.agents == 1 else f"one {one.agent}" if alone else f"{one.agent} team"
            which = "" if why.member is None else f" (index {why.member})"
            more = f"; and {why.more} more" if why.more else ""
            parts = [(_choices(part.choices) + more, f"+{share(part.gain)}".replace("+-", "-")) for part in why.parts]
            yield f"{who}{which} gains {share(why.gain)}", tuple(parts) or ((why.constant, ""),)


def _parts(parts: Sequence[tuple[str, str]]) -> str:
    return "; then ".join(f"{choices}: {gain}" if gain else choices for choices, gain in parts)


def _choices(choices: Sequence[Choice]) -> str:
    """Such as `hours 1040 (trained: 0), demand 12 of bakery 2 (trained: 3) in step 8`."""
    found = []
    for (first, last), own in groupby(choices, key=lambda one: (one.first, one.last)):
        when = f"in step {first}" if first == last else f"in steps {first} to {last}"
        found.append(f"{', '.join(map(_choice, own))} {when}")
    return "; ".join(found)


def _choice(one: Choice) -> str:
    def often(share: float | None) -> str:
        return "" if share is None or share >= NEARLY else f" in {share:.0%}"

    made = f"{one.action.partition('.')[2]} {one.choice}{f' of {one.of}' if one.of else ''}{often(one.share)}"
    return f"{made} (trained: {one.trained}{often(one.trained_share)})"


def _exact_lines(rows: tuple[Row, ...]) -> Iterator[str]:
    """Where gains can be computed exactly: what is possible, and what was found of it."""
    for one in (row.estimate for row in rows):
        if one.exact is not None:

            def share(x: float, scale: float = one.scale) -> str:
                return percent(x / scale) if scale else number(x)

            bound = "is" if one.exact.attained else "is at most"
            largest = (
                f", the largest of one {share(one.exact.largest)}"
                if one.agents > 1 and "individual" in one.notions
                else ""
            )
            yield (
                f"exact: the gain of {one.question} {bound} {share(one.exact.gain)}{largest}; that of the best "
                f"deviator found is {share(one.exact.found)} ({share(one.gain.amount.value)} in the test episodes)"
            )


def _reasons(result: Equilibrium) -> Iterator[str]:
    """Why a row is inconclusive."""
    for row in result.rows:
        one = row.estimate
        limit = one.target
        match row.open:
            case None:
                continue
            case Open.SCALE:
                reason = (
                    f"its {result.scale.partition(' (')[0]} is 0, as far as can be told, so that a share of it says "
                    "nothing; write the target as an amount, such as verify.target: "
                    f"{number(abs(one.gain.amount.value) or 0.01)} {one.unit}"
                )
            case Open.ROUNDING:
                allowed = f"{limit} of what they are compared with" if limit.unit is None else str(limit)
                reason = (
                    f"payoffs of {number(one.payoff)} are rounded by more than {allowed}; "
                    "write the reward without what no one can change"
                )
            case Open.BOUNDS:
                reason = (
                    f"the gain may lie on either side of {limit}; more test episodes (verify.episodes) tell it better"
                )
            case Open.RISING:
                reason = "more iterations still find more; raise verify.iterations"
            case Open.EXACT:
                reason = f"the best deviator found gains no more than {limit}, computed exactly; others may gain more"
            case Open.POWER if one.power is None:
                reason = (
                    "untrained play earns as much as trained play, within the target, so there is no known gain to test "
                    "the search with"
                )
            case Open.POWER:
                reason = (
                    f"the search finds {one.power:.0%} of a known gain, less than {POWER:.0%}; raise verify.iterations"
                )
        yield f"inconclusive: {one.question}: {reason}"


def _after_lines(result: Equilibrium, least: float) -> Iterator[str]:
    """How much of a payoff of an economy that goes on is not played, where it is at least the share `least`."""
    for agent, weight in result.after.items():
        if weight >= least:
            yield (
                f"what follows after the last step has {weight:.0%} of the weight in the payoff of {agent}: it is valued by "
                "its trained value network, not played" + ("; a longer horizon makes it less" if least else "")
            )


def _side_effects(rows: tuple[Row, ...]) -> Iterator[str]:
    scales = {row.estimate.agent: row.estimate.scale for row in rows}
    for one in (row.estimate for row in rows):
        for other, change in one.others.items():
            if scales.get(other) and abs(change) > 0.01 * scales[other]:
                yield f"{one.question} changes the payoff of {other} by {change / scales[other]:+.1%}"


def _tie_lines(ties: Ties) -> Iterator[str]:
    for tie in ties.found:
        agent, _, action = tie.action.partition(".")
        words = ", ".join(f"{one.choice} changes the payoff of {one.other} by {one.share:+.1%}" for one in tie.effects)
        yield f"tie: {action} in step {tie.step} is worth the same to one {agent} whatever it is: {words}"
    if ties.left:
        yield f"ties: {counted(ties.left, 'more action')} in a step may be one too"
    if ties.unasked:
        yield f"ties not looked for: {', '.join(f'{name} ({reason})' for name, reason in ties.unasked.items())}"


def _worse(result: Equilibrium) -> Iterator[str]:
    for agent, above in {row.estimate.agent: row.estimate.above for row in result.rows}.items():
        if above < 0:
            yield f"worse: the {result.scale} of {agent} is {number(above)}; percentages are of its size"
    for row in result.rows:
        if not row.estimate.scale:
            bounds = f"{number(row.bounds.lower)} to {number(row.bounds.upper)}"
            yield f"no percentages: the {result.scale} of {row.estimate.agent} is 0; bounds of the gain are {bounds}"
