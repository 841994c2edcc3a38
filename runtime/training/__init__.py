"""The phases of training and their iterations."""
