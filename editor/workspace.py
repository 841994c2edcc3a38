"""The texts that an editor holds, and what the compiler found in each."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.driver import Reading, examine
from rbcc.compiler.schema.introspection import alternatives, keys_at
from rbcc.compiler.schema.spec import Expression
from rbcc.compiler.semantics.expressions import Names, Scope
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.compiler.source import Entry, KeyPath, Mapping, Node, Sequence, find_model, parse


MAX_FILES = 5000
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}


@dataclass(frozen=True)
class Spot:
    """Where an offset lies in the tree of a file: in the value at `path`, or on the key that ends it."""

    path: KeyPath
    on_key: bool


class Analysis:
    """One spec as the compiler reads it."""

    def __init__(self, path: Path, source: Source, reading: Reading, before: "Analysis | None" = None):
        self.path, self.source, self.reading = path, source, reading
        good = not reading.diagnostics.failed
        # The last analysis that found names, and the last without errors: for a text that is broken.
        self.known = self if before is None or self.names is not None else before.known
        self.good = self if before is None or good else before.good

    @property
    def names(self) -> Names | None:
        context = self.reading.context
        return context.names if context is not None and context.names.symbols else None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The texts of the spec itself and of what it extends, in this order."""
        return self.reading.document.sources if self.reading.document is not None else (self.source,)

    def symbol(self, name: str) -> ir.Symbol | None:
        """A symbol with its type, that of the last good model where mistakes keep the type from being found."""
        found = self.names.symbols.get(name) if self.names is not None else None
        if found is not None and found.type.unit is None and self.good.names is not None:
            return self.good.names.symbols.get(name, found)
        return found

    @cached_property
    def files(self) -> frozenset[Path]:
        return frozenset(Path(source.name).resolve() for source in self.sources)

    @cached_property
    def mentions(self) -> list[Mention]:
        """All places where names are written, in order."""
        noted = self.names.mentions if self.names is not None else []
        found = dict.fromkeys(one for mention in noted for one in written(mention))
        return sorted(found, key=lambda m: (m.span.source.name, m.span.start, m.what))

    def mention(self, offset: int) -> Mention | None:
        """What stands at `offset` of the spec itself."""
        here = [
            m for m in self.mentions
            if m.span.source == self.source and m.span.start <= offset <= m.span.end + m.name.endswith("'")
        ]  # fmt: skip
        return max(here, key=lambda m: m.span.start, default=None)

    def definitions(self, what: What, name: str) -> list[Mention]:
        """The places that define a name: the key that declares it, the equations."""
        return [m for m in self.mentions if m.extent is not None and m.what is what and m.name == name]

    @property
    def tree(self) -> Mapping | None:
        return tree_of(self.source)

    @cached_property
    def scopes(self) -> dict[KeyPath, Scope]:
        """What can be used in each expression, by its place in the spec."""
        found: dict[KeyPath, Scope] = {}
        for span, scope in self.names.scopes if self.names else ():
            tree = tree_of(span.source) if span.source in self.sources else None
            if tree is not None and (spot := spot_at(tree, span.start)) is not None:
                found[expression_path(spot.path)] = scope
        return found

    def before(self, offset: int) -> int | None:
        """Where the text at `offset` stood in the text of `known`; None in what was written since."""
        return _moved(offset, self.source.text, self.known.source.text)

    def today(self, span: Span) -> Span:
        """A span of `known` in the text as it is now."""
        if span.source != self.known.source:
            return span
        start = _moved(span.start, span.source.text, self.source.text)
        start = span.start if start is None else start
        return Span(self.source, start, start + span.end - span.start)


class Workspace:
    """What is open in an editor, by resolved path, and the folders it works in."""

    def __init__(self, folders: Iterable[Path] = ()):
        self.folders = [folder.resolve() for folder in folders]
        self.texts: dict[Path, str] = {}
        self._analyses: dict[Path, Analysis] = {}
        self._stale: set[Path] = set()

    def write(self, path: Path, text: str) -> None:
        """Takes the text of an open document, as the editor holds it now."""
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        if self.texts.get(path) != text:
            self.texts[path] = text
            self._changed(path)

    def close(self, path: Path) -> None:
        self.texts.pop(path, None)
        self._analyses.pop(path, None)
        self._changed(path)

    def files_changed(self) -> None:
        """Something on the disk changed: everything is to be read again."""
        self._stale |= set(self._analyses)

    def _changed(self, path: Path) -> None:
        for root, analysis in self._analyses.items():
            if path in analysis.files or analysis.reading.document is None:
                self._stale.add(root)

    def is_spec(self, path: Path) -> bool:
        """Whether an open YAML document is a spec rather than any other YAML."""
        return any(re.search(r"^rbcc\s*:", self._text(one), re.MULTILINE) for one in self.chain(path))

    def outdated(self) -> list[Path]:
        """The open specs whose analysis is missing or older than the texts."""
        return [path for path in self.texts if path in self._stale or path not in self._analyses]

    def latest(self, path: Path) -> Analysis:
        """The last analysis of an open spec, made now only if there is none."""
        return self._analyses[path] if path in self._analyses else self.analysis(path)

    def analysis(self, path: Path) -> Analysis:
        """The analysis of an open spec as it is now."""
        before = self._analyses.get(path)
        if before is None or path in self._stale:
            before = self._analyses[path] = Analysis(path, *self.examine(path), before)
            self._stale.discard(path)
        return before

    def examine(self, path: Path, texts: dict[Path, str] | None = None) -> tuple[Source, Reading]:
        """What the compiler makes of a spec when `texts`, by default those open, stand in place of files."""
        texts = self.texts if texts is None else texts
        reading = examine(path, texts=texts)
        if reading.document is not None:
            return reading.document.sources[0], reading
        return Source(str(path), texts.get(path, "")), reading

    # --- files that belong together ----------------------------------------------------------------------------

    def chain(self, path: Path) -> list[Path]:
        """The spec at `path` and those it extends, in this order, as far as they can be found."""
        found: list[Path] = []
        current: Path | None = path
        while current is not None and current not in found:
            found.append(current)
            named = re.search(r"^extends:[ \t]*(['\"]?)([^\n#]+?)\1[ \t]*(?:#|$)", self._text(current), re.MULTILINE)
            following = find_model(named.group(2), current.parent, self.texts) if named else None
            current = following.resolve() if following is not None else None
        return found

    def family(self, ancestor: Path) -> list[Path]:
        """The specs of the workspace that are or extend `ancestor`."""
        known = dict.fromkeys([*self.texts, *self._yaml_files()])
        return [path for path in known if ancestor in self.chain(path)]

    def contains(self, path: Path) -> bool:
        """Whether a file is the author's own: in a folder of the workspace, not among installed packages."""
        folders = [folder for folder in self._own_folders() if path.is_relative_to(folder)]
        return any(not _hidden(path.relative_to(folder).parts) for folder in folders)

    def _own_folders(self) -> list[Path]:
        return self.folders or sorted({path.parent for path in self.texts})

    def _yaml_files(self) -> Iterator[Path]:
        count = 0
        for top in self._own_folders():
            for folder, inner, files in os.walk(top):
                inner[:] = sorted(name for name in inner if not _hidden((name,)))
                count += 1 + len(files)
                if count > 10 * MAX_FILES:
                    return
                yield from (Path(folder, name).resolve() for name in sorted(files) if name.endswith((".yaml", ".yml")))

    def _text(self, path: Path) -> str:
        if path in self.texts:
            return self.texts[path]
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""


@lru_cache(maxsize=64)
def tree_of(source: Source) -> Mapping | None:
    """The table of one file, without what it extends; None if it cannot be read."""
    return parse(source, Diagnostics())


def spot_at(tree: Mapping, offset: int) -> Spot | None:
    """The deepest place of `tree` at `offset`."""
    node: Node = tree
    path: KeyPath = ()
    while True:
        if isinstance(node, Mapping):
            on = next((key for key, entry in node.entries.items() if holds(entry.key, offset)), None)
            if on is not None:
                return Spot((*path, on), True)
            inner: list[tuple[str | int, Node]] = [(key, entry.node) for key, entry in node.entries.items()]
        elif isinstance(node, Sequence):
            inner = list(enumerate(node.items))
        else:
            return Spot(path, False)
        within = next(((key, one) for key, one in inner if holds(one.span, offset)), None)
        if within is None:
            return Spot(path, False) if path else None
        path, node = (*path, within[0]), within[1]


def entry_at(tree: Mapping, path: KeyPath) -> Entry | None:
    """The entry of one file at `path`, if the file has it."""
    node: Node = tree
    entry: Entry | None = None
    for part in path:
        if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
            entry = node.entries[part]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            entry = Entry(node.items[part].span, node.items[part])
        else:
            return None
        node = entry.node
    return entry


def expression_path(path: KeyPath) -> KeyPath:
    """The place of the expression at `path`, where a bare value may stand for a table with one key."""
    keys = (key for key in keys_at(path).values() if key.required and Expression in alternatives(key.form))
    return (*path, *(key.name for key in keys))


def short(name: str) -> str:
    """A full name as it is written: without its type, and without the prime of a next value."""
    return name.removesuffix("'").rpartition(".")[2].removeprefix("@")


def written(mention: Mention) -> Iterator[Mention]:
    """`mention` with the place of the name alone, and the agent type written before it; none if it is not written."""
    span = mention.span
    text = span.source.text[span.start : span.end]
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        span = Span(span.source, span.start + 1, span.end - 1)
        text = text[1:-1]
    name = short(mention.name)
    owner, dot, last = text.partition(".")
    if text == name:
        yield mention._replace(span=span)
    elif dot and mention.what is What.SYMBOL and last.strip() == name:
        yield mention._replace(span=Span(span.source, span.end - len(name), span.end))
        yield Mention(What.AGENT, owner.strip(), Span(span.source, span.start, span.start + len(owner.rstrip())))


def holds(span: Span, offset: int) -> bool:
    """Whether `offset` is in `span` or at its end, as a cursor is that stands behind a word."""
    return span.start <= offset <= span.end


def _moved(offset: int, old: str, new: str) -> int | None:
    """Where the character at `offset` of `old` is in `new`, which differs from it in one place."""
    if old == new:
        return offset
    shorter = min(len(old), len(new))
    start = _common(old, new, shorter)
    end = _common(old[::-1], new[::-1], shorter - start)
    if offset < start:
        return offset
    return offset - len(old) + len(new) if offset > len(old) - end else None


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part in _SKIPPED for part in parts)


def _common(a: str, b: str, limit: int) -> int:
    """How many of the first `limit` characters are the same, up to the first that is not."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low
