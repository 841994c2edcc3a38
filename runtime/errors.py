class RunError(Exception):
    """A run that cannot be made, resumed or used as asked; the message says why and what to do."""


class Diverged(RunError):
    """A number stopped being finite; the message says where."""
