"""From a spec to a JAX program. Nothing here imports JAX."""
