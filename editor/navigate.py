"""What stands at a place, where it is defined, where else it is used."""

import re
from dataclasses import replace
from pathlib import Path

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.semantics.expressions import Scope, infer
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.compiler.source import KeyPath, Scalar, find_model
from rbcc.editor import descriptions
from rbcc.editor.workspace import (
    Analysis,
    Spot,
    Workspace,
    entry_at,
    expression_path,
    holds,
    spot_at,
    tree_of,
    written,
)


_WORD = re.compile(r"[^\W\d]\w*(?:\s*\.\s*[^\W\d]\w*)?'?")


def hover(analysis: Analysis, offset: int) -> tuple[str, Span] | None:
    """What the editor shows of the name, key or code at `offset`, and the place that it speaks of."""
    for found in re.finditer(r"\bRB\d{3}\b", analysis.source.text):
        if found.start() <= offset <= found.end() and (text := descriptions.describe_code(found.group())):
            return text, Span(analysis.source, found.start(), found.end())
    mention = mention_at(analysis, offset)
    if mention is not None:
        text = descriptions.describe(mention, analysis.known)
        return (text, mention.span) if text else None
    spot = _spot(analysis, offset)
    if spot is not None and spot.on_key and (text := descriptions.describe_key(spot.path)):
        entry = entry_at(analysis.tree, spot.path) if analysis.tree else None
        return text, entry.key if entry else Span(analysis.source, offset, offset)
    return None


def mention_at(analysis: Analysis, offset: int) -> Mention | None:
    """The name at `offset`: from what the compiler found there or, where the text cannot be read, the word itself."""
    before = analysis.before(offset)
    mention = analysis.known.mention(before) if before is not None else None
    if mention is not None and (span := analysis.today(mention.span)) and _word_at(span) == _word_at(mention.span):
        return mention._replace(span=span)
    return _read_word(analysis, offset)


def _word_at(span: Span) -> str:
    """The whole word that begins with a span: a name may have grown since it was read."""
    found = re.compile(r"\w*").match(span.source.text, span.start)
    return found.group() if found else ""


def _read_word(analysis: Analysis, offset: int) -> Mention | None:
    """The word at `offset` as the compiler would read it there, in an expression that it could not read as a whole."""
    spot, names = _spot(analysis, offset), analysis.known.names
    if names is None or spot is None or spot.on_key:
        return None
    scope = scope_at(analysis.known, spot.path)
    text = analysis.source.text
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if scope is None or "#" in line:
        return None
    found = next((one for one in _WORD.finditer(text) if one.start() <= offset <= one.end()), None)
    if found is None:
        return None
    alone = replace(names, diagnostics=Diagnostics(), mentions=[], scopes=[])
    span = Span(analysis.source, found.start(), found.end())
    node = syntax.parse_expression(Scalar(found.group(), found.group(), span), alone.diagnostics)
    if node is None:
        return None
    if text[found.end() : found.end() + 1] == "(" and isinstance(node, syntax.Reference):
        alone.mention(What.FUNCTION, node.name, node.name_span)
    else:
        infer(node, scope, alone)
    here = (one for mention in alone.mentions for one in written(mention) if holds(one.span, offset))
    return next(here, None)


def scope_at(analysis: Analysis, path: KeyPath) -> Scope | None:
    """What can be used in the expression at `path`: of an expression that is new, what its neighbours can use."""
    path = expression_path(path)
    if path[:1] == ("equations",):
        return Scope("an equation", tuple(analysis.names.indices) if analysis.names else (), draws=True)
    if path[:1] == ("solve",) and path[-1:] == ("equations",):
        return Scope("an equation that is solved", tuple(analysis.names.indices) if analysis.names else ())
    if path in analysis.scopes:
        return analysis.scopes[path]

    def alike(other: KeyPath) -> int:
        same = sum(a == b for a, b in zip(path, other, strict=False))
        return same if len(other) == len(path) and (other[-1] == path[-1] or other[:-1] == path[:-1]) else 0

    nearest = max(analysis.scopes, key=alike, default=None)
    if nearest is None or not alike(nearest):
        return None
    scope = analysis.scopes[nearest]
    return replace(scope, home=str(path[1])) if scope.home and path[0] == "agents" else scope


def _spot(analysis: Analysis, offset: int) -> Spot | None:
    """Where `offset` lies in the file as it is or, if that is not YAML, as it was."""
    if analysis.tree is not None:
        return spot_at(analysis.tree, offset)
    before = analysis.before(offset)
    tree = analysis.known.tree
    return spot_at(tree, before) if tree is not None and before is not None else None


# --- definitions ---------------------------------------------------------------------------------------------------


def definition(analysis: Analysis, offset: int, workspace: Workspace) -> list[Span]:
    """Where the name at `offset` is defined; from a definition, what it overrides in a spec that is extended."""
    file = _named_file(analysis, offset, workspace)
    if file is not None:
        return [Span(Source(str(file), ""), 0, 0)]
    known = analysis.known
    mention = mention_at(analysis, offset)
    if mention is None:
        spot = _spot(analysis, offset)
        return _overridden(known, spot.path) if spot is not None and spot.on_key else []
    if mention.what is What.FUNCTION:
        return _function(known, mention.name)
    if mention.what is What.KEY:
        document = known.reading.document
        return [document.key((mention.name,))] if document is not None else []
    found = [analysis.today(one.span) for one in known.definitions(mention.what, mention.name)]
    if mention.span in found and (spot := _spot(analysis, offset)) is not None and spot.on_key:
        return _overridden(known, spot.path) or found
    return found


def _named_file(analysis: Analysis, offset: int, workspace: Workspace) -> Path | None:
    """The file that the value at `offset` names, if it is one of `extends` or `use`."""
    spot = _spot(analysis, offset)
    entry = entry_at(analysis.tree, spot.path) if spot and analysis.tree and not spot.on_key else None
    if spot is None or entry is None or spot.path[0] not in ("extends", "use") or not isinstance(entry.node, Scalar):
        return None
    name = str(entry.node.value)
    if spot.path[0] == "extends":
        return find_model(name, analysis.path.parent, workspace.texts)
    file = analysis.path.parent / name
    return file if file.is_file() else None


def _overridden(analysis: Analysis, path: KeyPath) -> list[Span]:
    """The keys at `path` in the specs that this one extends."""
    trees = [tree_of(source) for source in analysis.sources[1:]]
    entries = [entry_at(tree, path) for tree in trees if tree is not None]
    return [entry.key for entry in entries if entry is not None]


def _function(analysis: Analysis, name: str) -> list[Span]:
    found = analysis.names.primitives.get(name) if analysis.names else None
    if found is None:
        return []
    try:
        source = Source(found.file, Path(found.file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    start = source.text.find(f"def {name}(", source.offset(found.line - 1, 0))
    return [Span(source, start + 4, start + 4 + len(name))] if start >= 0 else []
