"""Episodes of many economies at once."""
