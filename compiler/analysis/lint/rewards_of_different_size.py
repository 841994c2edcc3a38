import math

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Ranges, as_number
from rbcc.compiler.analysis.lint.base import Report, rounded


TIMES = 1000.0


def rewards(model: ir.Model, ranges: Ranges, report: Report) -> None:
    """Rewards a thousand times those of another type, without a scale that says so.

    Their size is estimated from starts, parameters and choices over two steps. Skipped: models that do not train, and
    rewards whose size cannot be bounded, because of normal draws, divisions by what may be 0, functions of one's own.
    """
    if not model.phases:
        return
    usual = ranges.usual
    scales = {learner.agent: as_number(learner.reward_scale) for learner in model.phases[0].learners}
    sizes = {}
    for agent, scale in scales.items():
        range_ = usual.get(f"{agent}.reward")
        if range_ is not None and math.isfinite(range_.size) and range_.size > 0:
            sizes[agent] = range_.size / float(scale or 1)
    for agent, size in sizes.items():
        least = min((other for other in sizes if other != agent), key=lambda other: sizes[other], default=None)
        if least is not None and scales[agent] == 1 and size > TIMES * sizes[least]:
            reward = next(d for d in model.equations if d.symbol == f"{agent}.reward")
            report.warning(
                "RB806",
                f"rewards of '{agent}' are up to {rounded(size)}, those of '{least}' up to {rounded(sizes[least])}, "
                "and there is no 'reward_scale'",
                report.span(reward.place),
                f"bring rewards to the order of 1: 'training: {{{agent}: {{reward_scale: {_order(size)}}}}}'",
            )


def _order(size: float) -> str:
    return f"{10 ** round(math.log10(size)):g}"
