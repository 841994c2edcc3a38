"""Tests of what must hold in a model: in random cases, while training, after numbers that are not finite."""
