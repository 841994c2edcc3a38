"""The JSON Schema of specs, for editors that complete keys and show their descriptions."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from rbcc.compiler.schema.defaults import DEFAULTS
from rbcc.compiler.schema.introspection import tables
from rbcc.compiler.schema.spec import ByType, Shorthand, Spec


Schema = dict[str, Any]
PART = "Part"  # ends the name of a table in a spec that extends another


def schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a spec, made from the tables of `spec.py`.

    A spec that extends another may leave out any key, and give null to remove one.
    """
    root = Spec.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    schemas: dict[str, Schema] = {**root.pop("$defs"), "Spec": root}
    for name, value in _defaults().items():
        schemas["Learner"]["properties"][name]["description"] += f"; by default {value}"
    classes = {table.__name__: table for table in tables()}
    for name, table in schemas.items():
        _tidy(table)
        if issubclass(classes[name], ByType):
            del table["properties"]["types"]
            table["additionalProperties"] = {"$ref": "#/$defs/Learner"}
    definitions = schemas | {name + PART: _part(table) for name, table in schemas.items()}
    for name, table in definitions.items():
        form = classes[name.removesuffix(PART)]
        if issubclass(form, Shorthand):
            definitions[name] = {"anyOf": [table, table["properties"][form.short]], "description": table["description"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": root["description"],
        "if": {"required": ["extends"]},
        "then": {"$ref": f"#/$defs/Spec{PART}"},
        "else": {"$ref": "#/$defs/Spec"},
        "$defs": definitions,
    }


def _defaults() -> dict[str, str]:
    """What a spec that is silent about a setting of learning gets, as written."""
    return {name: str(value) for name, value in DEFAULTS.model_dump().items() if value not in (None, [], {})}


def _subschemas(node: Schema) -> Iterator[Schema]:
    """The schemas directly inside one."""
    yield from node.get("properties", {}).values()
    yield from node.get("anyOf", [])
    yield from node.get("prefixItems", [])
    yield from (node[key] for key in ("additionalProperties", "items") if isinstance(node.get(key), dict))


def _tidy(node: Schema) -> None:
    """Removes what pydantic adds and an editor would show: titles made of the names of keys, empty defaults.

    Null goes too: a key that has no value is left out.
    """
    node.pop("title", None)
    if not isinstance(node.get("default"), (str, int, float)):
        node.pop("default", None)
    options = [option for option in node.pop("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        node |= options[0]
    elif options:
        node["anyOf"] = options
    for inner in _subschemas(node):
        _tidy(inner)


def _part(table: Schema) -> Schema:
    """The schema of a table that is merged into that of another spec: nothing is required, null removes a key."""
    relaxed = deepcopy(table)
    pending = [relaxed]
    while pending:
        node = pending.pop()
        pending += _subschemas(node)
        node.pop("required", None)
        node.pop("minProperties", None)
        if "$ref" in node:
            node["$ref"] += PART
        if "properties" in node:
            node["properties"] = {key: _or_null(value) for key, value in node["properties"].items()}
        if isinstance(node.get("additionalProperties"), dict):
            node["additionalProperties"] = _or_null(node["additionalProperties"])
    return relaxed


def _or_null(value: Schema) -> Schema:
    about = {key: value.pop(key) for key in ("description", "default") if key in value}
    return {"anyOf": [value, {"type": "null"}], **about}
