"""Production functions."""

from typing import TYPE_CHECKING

from rbcc.compiler.primitives.base import primitive


if TYPE_CHECKING:
    import jax.numpy as jnp


@primitive(
    units="any, any, 1 -> 1",
    latex=r"{capital}^{{1-{share}}} {labour}^{{{share}}}",
    domain={"capital": (0, None), "labour": (0, None)},
)
def cobb_douglas(capital, labour, share):
    """Cobb-Douglas aggregate capital^(1 - share) labour^share, a pure number. Cobb and Douglas (1928)."""
    return jnp.power(capital, 1 - share) * jnp.power(labour, share)
