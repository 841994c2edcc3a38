"""Spec files: found by their names, read, and merged with what they extend and with overrides."""

import os
from collections.abc import Container, Mapping as MappingABC
from pathlib import Path

from rbcc.compiler.diagnostics import Diagnostics, Source, Span, suggest
from rbcc.compiler.source.overrides import override
from rbcc.compiler.source.tree import Document, Mapping, Override, Scalar, merged
from rbcc.compiler.source.yaml_reader import MAX_CHARACTERS, MAX_WORDS, parse, word_count


MAX_EXTENDS = 20


def load(
    path: str | Path,
    overrides: MappingABC[str, object] | None,
    diagnostics: Diagnostics,
    texts: MappingABC[Path, str] | None = None,
) -> Document | None:
    """Reads a spec and whatever it extends; entries that cannot be read are reported and left out.

    Returns None, with the reason in `diagnostics`, if nothing can be made of it.
    `texts`, by resolved path, are read in place of files: what an editor holds and has not saved.
    """
    sources: list[Source] = []
    root = _load_file(str(path), None, (), sources, diagnostics, texts or {})
    if root is None:
        return None
    applied: list[Override] = []
    for name, value in (overrides or {}).items():
        root = override(root, name, value, applied, diagnostics)
    if word_count(root) > MAX_WORDS:
        diagnostics.error(
            "RB005",
            "this spec is too long with what it extends and all overrides",
            Span(sources[0], 0, 0),
            expected=f"at most {MAX_WORDS:,} words and signs",
        )
        return None
    return Document(root, tuple(sources), tuple(applied))


def find_model(name: str, folder: Path | None = None, texts: Container[Path] = ()) -> Path | None:
    """The file a model name means: a path, perhaps of one of `texts`, or the bare name of a model that ships."""
    if "\0" in name:  # which no file system has
        return None
    direct = Path(name) if folder is None or os.path.isabs(name) else folder / name
    # pathlib's is_file raises an error for names that are too long.
    if os.path.isfile(direct) or (texts and direct.resolve() in texts):
        return direct
    if Path(name).name == name:
        shipped = shipped_models() / (name if name.endswith(".yaml") else f"{name}.yaml")
        if os.path.isfile(shipped):
            return shipped
    return None


def shipped_models() -> Path:
    import rbcc.models

    return Path(rbcc.models.__path__[0])


def _load_file(
    name: str,
    origin: Span | None,
    chain: tuple[Path, ...],
    sources: list[Source],
    diagnostics: Diagnostics,
    texts: MappingABC[Path, str],
) -> Mapping | None:
    folder = chain[-1].parent if chain else None
    path = find_model(name, folder, texts)
    if path is None:
        _missing_file(name, folder, origin, diagnostics)
        return None
    if path.resolve() in [known.resolve() for known in chain]:
        circle = " -> ".join(map(str, (*chain, path)))
        diagnostics.error("RB006", "this spec extends itself", origin, found=circle)
        return None
    if len(chain) >= MAX_EXTENDS:
        diagnostics.error("RB006", f"more than {MAX_EXTENDS} specs extend each other in a chain", origin)
        return None
    diagnostics.specs.append(str(path))
    source = read_file(path, origin, diagnostics, texts)
    if source is None:
        return None
    sources.append(source)
    if sum(len(one.text) for one in sources) > MAX_CHARACTERS:
        diagnostics.error("RB005", f"these specs have together more than {MAX_CHARACTERS:,} characters", origin)
        return None
    root = parse(source, diagnostics)
    if root is None:
        return None
    parent = root.entries.get("extends")
    if parent is None:
        return root
    if not isinstance(parent.node, Scalar) or not isinstance(parent.node.value, str):
        diagnostics.error("RB103", "'extends' takes the name of one spec", parent.node.span, expected="a file name")
        return None
    base = _load_file(parent.node.value, parent.node.span, (*chain, path), sources, diagnostics, texts)
    return None if base is None else merged(base, root)


def _missing_file(name: str, folder: Path | None, origin: Span | None, diagnostics: Diagnostics) -> None:
    direct = Path(name) if folder is None else folder / name
    if os.path.isdir(direct):
        diagnostics.error("RB001", f"{name} is a folder", origin, expected="a spec file such as model.yaml")
        return
    parent = direct.parent
    nearby = {p.name: str(Path(name).parent / p.name) for p in parent.glob("*.yaml")} if os.path.isdir(parent) else {}
    nearby |= {p.stem: p.stem for p in shipped_models().glob("*.yaml")}
    close = nearby.get(suggest(direct.name, nearby) or "")
    diagnostics.error("RB001", f"there is no file {direct}", origin, help=f"did you mean {close}?" if close else None)


def read_file(
    path: Path, origin: Span | None, diagnostics: Diagnostics, texts: MappingABC[Path, str] | None = None
) -> Source | None:
    """The text of one file, by default the one on disk, or None with the reason in `diagnostics`.

    `origin` is where the file was named.
    """
    try:
        text = texts.get(path.resolve()) if texts else None
        if text is None and path.stat().st_size > 4 * MAX_CHARACTERS:
            diagnostics.error("RB005", f"{path} has more than {4 * MAX_CHARACTERS:,} bytes", origin)
            return None
        text = path.read_text(encoding="utf-8-sig") if text is None else text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        diagnostics.error("RB001", f"{path} is not UTF-8 text, from line {line} on", origin, help="save it as UTF-8")
        return None
    except OSError as error:
        diagnostics.error("RB001", f"{path} cannot be read: {error.strerror}", origin)
        return None
    if len(text) > MAX_CHARACTERS:
        diagnostics.error("RB005", f"{path} has more than {MAX_CHARACTERS:,} characters", origin)
        return None
    return Source(str(path), text)
