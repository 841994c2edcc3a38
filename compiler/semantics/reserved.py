"""The words that a spec cannot give to things of its own, and why: the only place that lists them."""

from rbcc.compiler import ir
from rbcc.compiler.schema.introspection import keys_of
from rbcc.compiler.schema.spec import Learner, Phase, Training
from rbcc.compiler.semantics.distributions import DISTRIBUTIONS


KEYWORDS = frozenset("if else and or not where true false null time horizon public reward".split())
"""Words of the language: nothing in a spec can have such a name."""

SPECIAL = ("time", "horizon")
"""Keywords that stand for a value."""

SETTINGS = frozenset({"types"}.union(*map(keys_of, (Learner, Phase, Training))))
"""Keys of training beside which the settings of an agent type stand under its name."""

MODULE_NAMES = frozenset(
    "jax jnp HORIZON COUNTS CHOICES constants discounts reset observe bounds step alive symlog digits given state actions key keys "
    "parameters indicators following done iteration progress time held computed gini quantile top_share".split()
)
"""What the functions of the generated module call themselves, their arguments and their own variables."""

NOT_AGENT_TYPES = KEYWORDS | SETTINGS
NOT_FUNCTIONS = KEYWORDS | {*ir.REDUCTIONS, *DISTRIBUTIONS, "since"} | MODULE_NAMES
