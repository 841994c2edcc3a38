from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rbcc.compiler.diagnostics.diagnostic import MAX_ERRORS, MAX_PLACES, Diagnostic, Label, Severity, Span
from rbcc.compiler.diagnostics.render import render_text


class CompileError(Exception):
    """A spec that cannot be compiled; `diagnostics` holds every finding, in the order of the files."""

    def __init__(self, diagnostics: Iterable[Diagnostic]):
        self.diagnostics = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n" + render_text(self.diagnostics)


@dataclass
class Diagnostics:
    """Collects the findings of all stages, so that one run reports them all.

    `specs` names the spec that was asked for, and after it those that it extends. In `sorted` they come in this order,
    and what they use before them (overrides, primitives, data: their mistakes are causes of others).
    `broken` holds names whose definition was reported and left out: that they are missing later is not news.
    After `MAX_ERRORS` errors it raises CompileError: nobody reads more, and the time they take has a bound.
    """

    specs: list[str] = field(default_factory=list)
    found: list[Diagnostic] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    _missing: dict[tuple[str, str], Diagnostic] = field(default_factory=dict)
    _known: set[Diagnostic] = field(default_factory=set)
    _errors: int = 0

    def error(self, code: str, message: str, span: Span | None = None, **details: object) -> Diagnostic:
        return self.add(Diagnostic(code, Severity.ERROR, message, span, **details))  # type: ignore[arg-type]

    def add_missing(self, name: str, diagnostic: Diagnostic) -> None:
        """Keeps an error about a `name` that means nothing: reported where it is first met, to which other places are
        added."""
        assert diagnostic.span is not None
        if not self.again(name, diagnostic.code, diagnostic.span):
            self._missing[diagnostic.code, name] = self.add(diagnostic)

    def again(self, name: str, code: str, span: Span) -> bool:
        """Whether it was reported already that `name` means nothing; then `span` is added to the places."""
        first = self._missing.get((code, name))
        if first is None:
            return False
        if len(first.labels) < MAX_PLACES and span not in (first.span, *(label.span for label in first.labels)):
            again = replace(first, labels=(*first.labels, Label(span, "also at")))
            self.found[self.found.index(first)] = self._missing[code, name] = again
        return True

    def warning(self, code: str, message: str, span: Span | None = None, **details: object) -> None:
        self.add(Diagnostic(code, Severity.WARNING, message, span, **details))  # type: ignore[arg-type]

    def add(self, diagnostic: Diagnostic) -> Diagnostic:
        """Keeps a finding, unless it is known already."""
        if diagnostic in self._known:
            return diagnostic
        self._known.add(diagnostic)
        self.found.append(diagnostic)
        self._errors += diagnostic.severity is Severity.ERROR
        if self._errors >= MAX_ERRORS:
            raise CompileError(self.sorted())
        return diagnostic

    @property
    def failed(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.found)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.sorted() if d.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for d in self.sorted() if d.severity is Severity.WARNING]

    def sorted(self) -> list[Diagnostic]:
        def order(diagnostic: Diagnostic) -> tuple[int, str, int]:
            if (span := diagnostic.span) is None:
                return (-1, "", 0)
            name = span.source.name
            return (1 + self.specs.index(name) if name in self.specs else 0, name, span.start)

        return sorted(self.found, key=order)

    def raise_if_failed(self) -> None:
        if self.failed:
            raise CompileError(self.sorted())
