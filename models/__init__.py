"""The economies that ship with rbcc, one spec a file."""
