"""Choices as arrays."""
