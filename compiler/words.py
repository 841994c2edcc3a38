"""Words that messages and pages of several kinds need."""


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, such as "no steps", "1 step", "2 indices"; `several` is the plural, by default with an s."""
    return f"{number or 'no'} {one if number == 1 else several or f'{one}s'}"
