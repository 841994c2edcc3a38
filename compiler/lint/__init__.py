"""What is legal and yet looks like a mistake: one small file a rule, each a function of the checked model.

Every finding is a warning with a code of its own, which a spec can silence.
"""

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostics
from rbcc.compiler.lint.clock import clock
from rbcc.compiler.lint.discount import discount
from rbcc.compiler.lint.finding import Report
from rbcc.compiler.lint.influence import influence
from rbcc.compiler.lint.jumps import jumps
from rbcc.compiler.lint.ranges import Ranges
from rbcc.compiler.lint.rewards import rewards
from rbcc.compiler.lint.scales import scales
from rbcc.compiler.lint.shares import shares
from rbcc.compiler.lint.unaccounted import unaccounted
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
