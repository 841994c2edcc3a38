class RunError(Exception):
    """A run that cannot be made, resumed or used as asked; the message says why and what to do."""


class TooLarge(RunError):
    """What is asked for takes more memory than there is."""


class Stopped(RunError):
    """Training that cannot go on because of what the economy does; `status` says what has become of the run.

    `place` is which of the runs that train together it is.
    """

    status = "stopped"

    def __init__(self, message: str, place: int = 0):
        super().__init__(message)
        self.place = place


class Diverged(Stopped):
    """A number stopped being finite; the message says where."""

    status = "diverged"


class Violated(Stopped):
    """Something that must hold in every step did not; the message says what, where and with which values."""

    status = "stopped by a check"
