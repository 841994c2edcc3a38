"""Run directories: specs, checkpoints, metrics."""
