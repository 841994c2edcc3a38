"""How policies are improved from episodes."""
