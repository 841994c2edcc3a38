"""Text that messages, pages and commands of several kinds need: plurals, lists, and escapes for a terminal."""


def printable(text: str) -> str:
    """`text` with everything escaped that would move the cursor of a terminal, change its colours, or turn the order of
    letters around; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, such as "no steps", "1 step", "2 indices"; `several` is the plural, by default with an s."""
    return f"{number or 'no'} {one if number == 1 else several or f'{one}s'}"


def split_outside_brackets(text: str) -> list[str]:
    """The parts of `text` between commas, without spaces round them; commas within brackets or quotes do not count."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
