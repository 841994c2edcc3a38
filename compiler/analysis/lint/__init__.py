"""What is legal and yet looks like a mistake: one small file a rule, each a function of the checked model.

Every finding is a warning with a code of its own, which a spec can silence.
"""

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Ranges
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.analysis.lint.cancellation import cancellation
from rbcc.compiler.analysis.lint.choice_without_effect import influence
from rbcc.compiler.analysis.lint.discount_looks_like_rate import discount
from rbcc.compiler.analysis.lint.jump_under_derivative import jumps
from rbcc.compiler.analysis.lint.rewards_of_different_size import rewards
from rbcc.compiler.analysis.lint.saturating_scale import scales
from rbcc.compiler.analysis.lint.share_outside_unit_interval import shares
from rbcc.compiler.analysis.lint.stock_without_account import unaccounted
from rbcc.compiler.analysis.lint.unobserved_clock import clock
from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.source import Document


def lint(model: ir.Model, document: Document, diagnostics: Diagnostics) -> None:
    """Adds a warning to `diagnostics` for everything in `model` that looks like a mistake."""
    report, ranges = Report(document, diagnostics), Ranges(model)
    discount(model, ranges, report)
    shares(model, ranges, report)
    influence(model, report)
    clock(model, report)
    unaccounted(model, report)
    jumps(model, report)
    scales(model, ranges, report)
    rewards(model, ranges, report)
    cancellation(model, ranges, report)
