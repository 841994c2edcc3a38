"""LaTeX formulas as MathML, which browsers show without any script.

It reads the LaTeX that `math.py` writes and the usual commands that templates of primitives may add. What it does
not know is shown as it stands.
"""

import re
from html import escape

from rbcc.compiler.backends.docs.math import GREEK_LETTERS, plain


_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+)?|\S", re.DOTALL)
_LETTERS = {name: letter for letter, name in GREEK_LETTERS.items()} | {
    "varepsilon": "ε",
    "vartheta": "ϑ",
    "varphi": "φ",
}
_OPERATORS = {
    "-": "−", "*": "∗", r"\cdot": "⋅", r"\times": "×", r"\le": "≤", r"\leq": "≤", r"\ge": "≥", r"\geq": "≥",
    r"\neq": "≠", r"\ne": "≠", r"\wedge": "∧", r"\vee": "∨", r"\neg": "¬", r"\mid": "∣", r"\in": "∈", r"\pm": "±",
    r"\lvert": "|", r"\rvert": "|", r"\lfloor": "⌊", r"\rfloor": "⌋", r"\lceil": "⌈", r"\rceil": "⌉", r"\to": "→",
    r"\approx": "≈", r"\sim": "∼", r"\prime": "′", r"\ldots": "…", r"\cdots": "⋯", r"\{": "{", r"\}": "}",
}  # fmt: skip
_OPENING = {"(", "[", r"\{", r"\lvert", r"\lfloor", r"\lceil"}
_CLOSING = {")", "]", r"\}", r"\rvert", r"\rfloor", r"\rceil"}
_BEFORE_A_SIGN = {"", "=", "<", ">", ",", ":", "&", r"\\"}
_SYMBOLS = {
    r"\infty": "∞", r"\partial": "∂", r"\ell": "ℓ", r"\#": "#", r"\%": "%", r"\_": "_", r"\&": "&amp;", r"\$": "$",
}  # fmt: skip
_FUNCTIONS = set(r"\exp \log \ln \sin \cos \tan \sinh \cosh \tanh \arctan \det".split())
_WITH_LIMITS = {
    r"\sum": "∑",
    r"\prod": "∏",
    r"\int": "∫",
    r"\min": "min",
    r"\max": "max",
    r"\sup": "sup",
    r"\inf": "inf",
}
_SPACES = {r"\,": 3, r"\:": 4, r"\;": 5, r"\ ": 4, r"\quad": 18, r"\qquad": 36, r"\!": -3}  # in eighteenths of an em
_SCRIPT = {"B": "ℬ", "E": "ℰ", "F": "ℱ", "H": "ℋ", "I": "ℐ", "L": "ℒ", "M": "ℳ", "R": "ℛ"}


def mathml(latex: str, *, large: bool = False) -> str:
    """The MathML element that shows `latex`; `large` as on a line of its own, with what is below sums under them."""
    style = ' displaystyle="true"' if large else ""
    return f"<math{style}>{_Reader(latex).row()}</math>"


class _Reader:
    def __init__(self, latex: str):
        self.latex = latex
        self.tokens = [(match.group(), match.end()) for match in _TOKEN.finditer(latex)]
        self.place = 0

    @property
    def token(self) -> str:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.token
        self.place += 1
        return token

    def row(self, *ends: str) -> str:
        """Everything up to one of the tokens `ends`, or to the end."""
        parts = []
        while self.token and self.token not in ends:
            parts.append(self.scripted())
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def argument(self) -> str:
        """A group in braces, or a single token."""
        if self.take() != "{":
            self.place -= 1
            return self.atom()
        inner = self.row("}")
        self.take()
        return inner

    def words(self) -> str:
        """A group in braces that is text rather than a formula."""
        if self.take() != "{":
            return ""
        start, depth = self.tokens[self.place - 1][1], 1
        while self.token and depth:
            token = self.take()
            depth += (token == "{") - (token == "}")
        end = self.tokens[self.place - 1][1] - 1 if not depth else len(self.latex)
        return plain(self.latex[start:end])

    def scripted(self) -> str:
        """An atom with what stands below and above it."""
        limits = self.token in _WITH_LIMITS or self.token == r"\operatorname*"
        base, below, above = self.atom(), "", ""
        while self.token and self.token in "_^'":
            mark = self.take()
            if mark == "_":
                below += self.argument()
            else:
                above += "<mo>′</mo>" if mark == "'" else self.argument()
        under, over = ("under", "over") if limits else ("sub", "sup")
        if below and above:
            return f"<m{under}{over}>{base}<mrow>{below}</mrow><mrow>{above}</mrow></m{under}{over}>"
        if below or above:
            element = f"m{under if below else over}"
            return f"<{element}>{base}<mrow>{below or above}</mrow></{element}>"
        return base

    def atom(self) -> str:
        if self.token == "{":
            return self.argument()
        token = self.take()
        if not token:
            return "<mrow></mrow>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token in _WITH_LIMITS:
            return _limited(_WITH_LIMITS[token]) if self.token in ("_", "^") else _named(_WITH_LIMITS[token])
        if token in _OPERATORS or not token.startswith("\\"):
            return f"<mo{self.form(token)}>{escape(_OPERATORS.get(token, token))}</mo>"
        return self.command(token)

    def form(self, token: str) -> str:
        """Attributes of an operator that a browser could not guess from what stands beside it."""
        if token in _OPENING:
            return ' form="prefix" stretchy="false"'
        if token in _CLOSING:
            return ' form="postfix" stretchy="false"'
        before = self.tokens[self.place - 2][0] if self.place > 1 else ""
        is_sign = before in _OPENING or before in _BEFORE_A_SIGN or (before in _OPERATORS and before not in _CLOSING)
        return ' form="prefix"' if token in "+-" and is_sign else ""

    def command(self, token: str) -> str:
        name = token[1:]
        if name in _LETTERS or token in _SYMBOLS:
            return f"<mi>{_LETTERS.get(name) or _SYMBOLS[token]}</mi>"
        if token in _FUNCTIONS:
            return _named(name)
        if token in _SPACES:
            return f'<mspace width="{_SPACES[token] / 18:.3f}em"></mspace>'
        match name:
            case "mathit" | "textit":
                return f'<mi class="word">{escape(self.words())}</mi>'
            case "mathrm" | "mathsf":
                return f'<mi mathvariant="normal">{escape(self.words())}</mi>'
            case "operatorname":
                return _named(self.words())
            case "operatorname*":
                return _limited(self.words())
            case "mathbf":
                return f'<mi class="bold">{escape(self.words())}</mi>'
            case "mathcal":
                return f"<mi>{escape(''.join(map(_script, self.words())))}</mi>"
            case "text":
                return f"<mtext>{escape(self.words()).replace(' ', '&nbsp;')}</mtext>"
            case "frac":
                return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
            case "sqrt":
                return f"<msqrt>{self.argument()}</msqrt>"
            case "left":
                opening, inner, closing = self.take(), self.row(r"\right"), ""
                if self.take():
                    closing = self.take()
                return f"<mrow>{_fence(opening)}{inner}{_fence(closing)}</mrow>"
            case "begin":
                return self.cases() if self.words() == "cases" else ""
            case "right" | "end":
                return ""
        return f"<mtext>{escape(token)}</mtext>"

    def cases(self) -> str:
        rows: list[list[str]] = [[]]
        while self.token and self.token != r"\end":
            rows[-1].append(self.row("&", r"\\", r"\end"))
            if self.token == r"\\":
                rows.append([])
            if self.token != r"\end":
                self.take()
        self.take()
        self.words()
        lines = ("".join(f"<mtd>{cell}</mtd>" for cell in row) for row in rows)
        table = "".join(f"<mtr>{line}</mtr>" for line in lines)
        return f'<mrow><mo stretchy="true">{{</mo><mtable class="cases">{table}</mtable></mrow>'


def _named(words: str) -> str:
    return f'<mi mathvariant="normal">{escape(words)}</mi>'


def _limited(words: str) -> str:
    return f'<mo movablelimits="true">{escape(words)}</mo>'


def _fence(token: str) -> str:
    return "" if token in ("", ".") else f'<mo stretchy="true">{escape(_OPERATORS.get(token, token))}</mo>'


def _script(letter: str) -> str:
    return _SCRIPT.get(letter) or (chr(0x1D49C + ord(letter) - ord("A")) if "A" <= letter <= "Z" else letter)
