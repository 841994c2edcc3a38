"""The IR as a Python module of JAX."""
