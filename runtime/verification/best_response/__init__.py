"""Deviations that pay: searched for, learned, or exact."""
