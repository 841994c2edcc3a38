"""What can be found out about a model from its IR, without running it."""
