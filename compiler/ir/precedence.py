"""How tightly operators bind: one order for the printer of the IR, the generated Python and the formulas of pages.

A leading minus has two levels. In programs -a * b is (-a) * b, so UNARY binds tighter than PRODUCT. In a formula -ab is
the negative of ab, so SIGN binds less. FRACTION is a quotient that is set as a fraction, whose parts need no brackets.
"""

CONDITIONAL, OR, AND, NOT, COMPARISON, SUM, SIGN, PRODUCT, FRACTION, UNARY, POWER, ATOM = range(12)

OF_OPERATOR = {
    "or": OR,
    "and": AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARISON),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys("*/", PRODUCT),
    "^": POWER,
}
"""The level of each binary operator of the language."""
