"""What is said of a text that cannot be read: what could have stood there, and what its author probably meant."""

import re

from rbcc.compiler.diagnostics import other_languages
from rbcc.compiler.ir import REDUCTIONS


_NO_COMMA = re.compile(rf"\b({'|'.join(REDUCTIONS)})\s*\(\s*\w+\s+$")

_TOKENS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "COMPARE": "a comparison",
    "SIGN": "+ or -",
    "SCALE": "* or /",
    "POWER": "^",
    "PRIME": "a prime (')",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "EQUAL": "'='",
    "COLON": "':'",
    "DOT": "'.'",
    "IF": "'if'",
    "ELSE": "'else'",
    "AND": "'and'",
    "OR": "'or'",
    "NOT": "'not'",
    "WHERE": "'where'",
    "TRUE": "'true'",
    "FALSE": "'false'",
    "$END": "the end",
}
_OPERATORS = {"SIGN", "SCALE", "POWER", "COMPARE", "IF", "AND", "OR"}


def explain(text: str, start: str, place: int, token: str, accepted: set[str]) -> tuple[str, str | None, str | None]:
    """The message, what was expected, and the likely fix, where reading of `text` as a `start` stopped at `place`.

    `token` is what stands there, "" at the end; `accepted` are the names of the tokens that could.
    """
    rest = text[place:]
    notations = other_languages.UNITS if start == "unit" else other_languages.EXPRESSIONS
    if start == "equation" and "=" not in text[:place]:
        notations = other_languages.EQUATIONS + other_languages.EXPRESSIONS
    matching = (notation for notation in notations if re.compile(notation.pattern).match(text, place))
    hint = next((notation.help for notation in matching), None)
    if hint is None and start == "equation" and "=" not in text:
        hint = "an equation is written name = expression, or name'[i] = expression for a next value"
    if hint is None and not token and text.count("(") > text.count(")"):
        hint = "a ')' is missing"
    if hint is None and token == ")" and text.count(")") > text.count("("):
        hint = "there is one ')' too many"
    if hint is None and _NO_COMMA.search(text[:place]):
        hint = "a comma is missing after the index"
    if hint is None and (branch := re.search(r"\bif\b", text)) and re.search(r"\bthen\b", text[branch.end() :]):
        hint = "a choice is written a if condition else b; both branches are needed"
    if hint is None and start == "equation" and re.match(r"\w+'?(\[[^\]]*\])?\s*=(?!=)", rest):
        hint = "a second equation begins in the same text: write 'name: |' above them, and each on a line of its own"
        if text[:place].count("(") > text[:place].count(")"):
            hint = "a ')' is missing before: an equation goes on while a bracket is open"
    if hint is None and token == "(" and re.search(r"\b\w+\.\w+\s*$", text[:place]):
        hint = "functions have no prefix: sqrt(x), not np.sqrt(x)"
    if hint is None and token == "[" and "NAME" in accepted:
        hint = "there are no lists in expressions: max(a, b) of values, max(j, x[j]) over agents"
    if hint is None and start != "unit" and re.search(r"\d\s*$", text[:place]) and re.match(r"[^\W\d]", rest):
        hint = (
            "is an operator missing? A product is written 2 * b; a unit has a key of its own: {value: 2, unit: money}"
        )
    if hint is None and "NAME" not in accepted and re.match(r"[\w(]", rest):
        hint = "is an operator missing? A product is written a * b"
    if hint is None and token in ("if", "else"):
        hint = "a choice is written a if condition else b; both branches are needed"
    expected = _accepted(accepted, text[:place])
    if hint is None and expected == "'else'":
        hint = "say what holds otherwise: a if condition else 0"
    message = f"this {start} ends too early" if not token else f"'{token}' does not fit here"
    return message, expected, hint


def _accepted(tokens: set[str], before: str) -> str | None:
    """What could have stood here, in words; closing tokens only where something is open."""
    words, rest = [], set(tokens)
    if rest >= {"NAME", "NUMBER", "LPAR"}:
        words.append("a value")
        rest -= {"NAME", "NUMBER", "LPAR", "NOT", "TRUE", "FALSE", "SIGN"}
    if rest >= _OPERATORS:
        words.append("an operator")
        rest -= {*_OPERATORS, "LPAR", "PRIME", "LSQB", "DOT"}
        if before.count("(") <= before.count(")"):
            rest -= {"RPAR", "WHERE"}
        if before.count("[") <= before.count("]"):
            rest -= {"RSQB"}
        if before.count("(") <= before.count(")") and before.count("[") <= before.count("]"):
            rest -= {"COMMA"}
        if not re.search(r"\bif\b", before):
            rest -= {"ELSE"}
    words += sorted(_TOKENS.get(token, token.lower()) for token in rest)
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0] if words else None
