"""The text of a spec as a tree in which every value knows its place: reading, `extends`, overrides, limits."""

from rbcc.compiler.source.loader import (
    MAX_EXTENDS as MAX_EXTENDS,
    find_model as find_model,
    load as load,
    read_file as read_file,
    shipped_models as shipped_models,
)
from rbcc.compiler.source.overrides import SETTINGS as SETTINGS, override_text as override_text, path_like as path_like
from rbcc.compiler.source.tree import (
    Document as Document,
    Entry as Entry,
    KeyPath as KeyPath,
    Mapping as Mapping,
    Node as Node,
    Override as Override,
    Plain as Plain,
    Scalar as Scalar,
    Sequence as Sequence,
    names_in as names_in,
)
from rbcc.compiler.source.yaml_reader import (
    MAX_CHARACTERS as MAX_CHARACTERS,
    MAX_DEPTH as MAX_DEPTH,
    MAX_NODES as MAX_NODES,
    MAX_WORDS as MAX_WORDS,
    is_text as is_text,
    parse as parse,
    stands_plain as stands_plain,
    words_in as words_in,
)
