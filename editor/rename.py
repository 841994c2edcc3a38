"""Where else a name is used, in all specs that belong together, and changing it in all of them."""

from pathlib import Path

from rbcc.compiler.diagnostics import Span
from rbcc.compiler.ir.types import Role
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.editor.navigate import mention_at
from rbcc.editor.workspace import Analysis, Workspace, short


class Refused(Exception):
    """A name that cannot be changed; the message says why."""


def references(workspace: Workspace, path: Path, offset: int, definitions: bool = True) -> list[Span]:
    """All places of the workspace where what is named at `offset` is named, with or without its definitions."""
    analysis = workspace.analysis(path)
    mention = mention_at(analysis, offset)
    if mention is None or analysis.names is None:
        return []
    found: dict[tuple[str, int], Span] = {}
    for one in _family(workspace, analysis, mention):
        places = (m for m in _mentions(one, mention) if definitions or m.extent is None)
        found |= {(m.span.source.name, m.span.start): m.span for m in places}
    return [found[key] for key in sorted(found)]


def renamable(workspace: Workspace, path: Path, offset: int) -> Mention:
    """The name at `offset`. Raises Refused if it cannot be changed."""
    analysis = workspace.analysis(path)
    mention = mention_at(analysis, offset)
    if mention is None:
        raise Refused("there is no name here that could be changed")
    if analysis.reading.diagnostics.failed:
        raise Refused("mend the errors of this spec first: where they are, uses of the name cannot be told")
    if mention.what is What.FUNCTION:
        raise Refused("a function is renamed in the Python file that declares it")
    symbol = analysis.names.symbols.get(mention.name) if analysis.names else None
    reward = mention.what is What.SYMBOL and symbol is not None and symbol.role is Role.REWARD
    if reward or not analysis.definitions(mention.what, _base(mention.name)):
        raise Refused(f"'{short(mention.name)}' is a word of the language")
    return mention


def rename(workspace: Workspace, path: Path, offset: int, name: str) -> dict[Path, list[Span]]:
    """The places, by file, to be overwritten with `name`. Raises Refused if the specs would mean something else."""
    mention = renamable(workspace, path, offset)
    analysis = workspace.analysis(path)
    if not name.isidentifier():
        raise Refused(f"'{name}' is not a name: letters, digits and _, not starting with a digit")
    family = _family(workspace, analysis, mention)
    places: dict[Path, dict[int, Span]] = {}
    for one in family:
        if one.reading.diagnostics.failed:
            raise Refused(f"mend the errors of {one.path.name} first: it uses the name too")
        for span in (m.span for m in _mentions(one, mention)):
            places.setdefault(Path(span.source.name).resolve(), {})[span.start] = span
    for file in places:
        if not workspace.contains(file):
            raise Refused(f"{file} uses the name, and is outside the workspace")
    texts = dict(workspace.texts)
    for file, spans in places.items():
        text = next(iter(spans.values())).source.text
        for span in sorted(spans.values(), key=lambda s: -s.start):
            text = text[: span.start] + name + text[span.end :]
        texts[file] = text
    for one in family:
        _check(one, Analysis(one.path, *workspace.examine(one.path, texts)), name)
    return {file: [spans[start] for start in sorted(spans)] for file, spans in places.items()}


def _check(before: Analysis, after: Analysis, name: str) -> None:
    """Raises Refused unless every name means after a change what it meant before."""
    errors = after.reading.diagnostics.errors
    if errors:
        place = f"{errors[0].span.place}: " if errors[0].span else ""
        raise Refused(f"'{name}' does not fit: {place}{errors[0].message}")
    pairs = list(zip(before.mentions, after.mentions, strict=False))
    forth = {(b.what, b.name): (a.what, a.name) for b, a in pairs}
    back = {(a.what, a.name): (b.what, b.name) for b, a in pairs}
    same = all(forth[b.what, b.name] == (a.what, a.name) and back[a.what, a.name] == (b.what, b.name) for b, a in pairs)
    if not same or len(before.mentions) != len(after.mentions):
        raise Refused(f"'{name}' is taken: something else would be meant in {before.path.name}")


def _family(workspace: Workspace, analysis: Analysis, mention: Mention) -> list[Analysis]:
    """All specs of the workspace that share with `analysis` the topmost file in which the name stands."""
    sources = {m.span.source for m in _mentions(analysis, mention)}
    top = [source for source in analysis.sources if source in sources][-1:]
    found = [path for source in top for path in workspace.family(Path(source.name).resolve()) if path != analysis.path]
    return [analysis, *(Analysis(path, *workspace.examine(path)) for path in found)]


def _mentions(analysis: Analysis, mention: Mention) -> list[Mention]:
    base = _base(mention.name)
    return [m for m in analysis.mentions if m.what is mention.what and _base(m.name) == base]


def _base(name: str) -> str:
    """The name of a state, for that of its next value."""
    return name.removesuffix("'")
