"""Text that messages and pages of several kinds need: plurals, and escapes for a terminal."""


def printable(text: str) -> str:
    """`text` with everything escaped that would move the cursor of a terminal, change its colours, or turn the order of
    letters around; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, such as "no steps", "1 step", "2 indices"; `several` is the plural, by default with an s."""
    return f"{number or 'no'} {one if number == 1 else several or f'{one}s'}"
