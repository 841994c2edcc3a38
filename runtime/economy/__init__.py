"""A compiled model as an economy that runs: states, steps, batches."""
