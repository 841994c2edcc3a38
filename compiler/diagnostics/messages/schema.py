"""Keys and values of a spec that do not fit its tables; codes of warnings to silence."""

from collections.abc import Collection, Iterable, Sequence

from rbcc.compiler.diagnostics.codes import CODES, WARNINGS
from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error, suggest
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean, listed


# --- tables in the wrong place ---------------------------------------------------------------------------------------


_ENTRIES = {"parameters": "a parameter", "state": "a state", "actions": "a choice"}


def entry_of_another_section(name: str, section: str, belongs: str, span: Span) -> Diagnostic:
    """An entry of `parameters`, `state` or `actions` that has the form of another of the three, `belongs`."""
    return error(
        "RB101",
        f"'{name}' stands under '{section}', but has the keys of {_ENTRIES[belongs]}",
        span,
        help=f"is the line '{belongs}:' missing above it?",
    )


def agents_without_name(keys: Sequence[str], span: Span) -> Diagnostic:
    """Keys of an agent type stand where its name should."""
    stand = "stands where the name of an agent type is" if len(keys) == 1 else "stand where names of agent types are"
    return error(
        "RB101",
        f"{_quoted(keys)} {stand} expected",
        span,
        help="indent them below the name of their agent type, or is the line with that name missing?",
    )


def misplaced_table(keys: Sequence[str], table: str, name: str, agent: bool, span: Span) -> Diagnostic:
    """Several keys do not belong to the table `name`; `agent`: they are keys of an agent type."""
    return error(
        "RB101",
        f"{_quoted(keys)} are not keys of {table}",
        span,
        help=f"they are keys of an agent type: is the line 'agents:' missing above '{name}'?"
        if agent
        else f"is '{name}' indented below the wrong key, or is the line missing that it belongs to?",
    )


def equations_as_agent_type(name: str, span: Span) -> Diagnostic:
    return error(
        "RB103",
        f"'{name}' holds equations, but stands where an agent type is expected",
        span,
        help="is the line 'equations:' missing above it?",
    )


def _quoted(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]


# --- keys ------------------------------------------------------------------------------------------------------------


def unknown_override(path: str, name: str, span: Span, known: Collection[str]) -> Diagnostic:
    """`--set` with a path that ends in the `name` of something that the spec lacks."""
    return error(
        "RB007",
        f"the spec has no '{path}'",
        span,
        expected=f"one of: {listed(known)}" if known else None,
        help=did_you_mean(name, known, "add it to the spec first"),
    )


def unknown_key(name: str, table: str, span: Span, known: Iterable[str], help: str | None) -> Diagnostic:
    return error("RB101", f"'{name}' is not a key of {table}", span, expected=f"one of: {listed(known)}", help=help)


AGENT_TYPES_UNDER_AGENTS = "agent types stand under 'agents:', indented by two more spaces"


def key_of_an_agent_type(name: str) -> str:
    return f"'{name}' is a key of an agent type: indent it below one"


def key_of_the_spec(name: str) -> str:
    return f"'{name}' is a key of the spec: indent it less"


def missing_key(name: str, table: str, span: Span, help: str) -> Diagnostic:
    return error("RB102", f"{table} has no '{name}'", span, help=help)


_EXAMPLES = {"rbcc": "1", "model": "my_economy", "horizon": "10", "count": "10", "start": "0", "value": "0"}


def key_to_add(name: str, description: str | None) -> str:
    return f"add '{name}: {_EXAMPLES.get(name, '...')}'" + (f": {description}" if description else "")


def indented_too_far(below: str, key: Span) -> str:
    """The key that is missing stands below another."""
    return f"the one at {key.place} is indented below '{below}': indent it less"


def not_a_name(name: str, span: Span, expected: str, better: str | None) -> Diagnostic:
    """`better` is a name near to it."""
    help = f"write {better}" if better else None
    if not name.isprintable():
        help = "it holds an invisible character that looks like a space: delete it"
    return error("RB103", f"'{name}' cannot be a name", span, expected=expected, help=help)


# --- values ----------------------------------------------------------------------------------------------------------


def number_trap(message: str, help: str, span: Span) -> Diagnostic:
    return error("RB104", message, span, help=help)


def wrong_form(name: str, span: Span, expected: str, found: str, help: str | None) -> Diagnostic:
    """`name` in quotation marks, and with the number of the item for one of a list."""
    return error("RB103", f"{name} has a value of the wrong form", span, expected=expected, found=found, help=help)


def does_not_fit(table: str, span: Span, expected: str) -> Diagnostic:
    return error("RB103", f"{table} does not fit", span, expected=expected)


_FORMS = {
    "list_type": "a list",
    "tuple_type": "a list of two",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number below 2,147,483,648",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "expression": "an expression or a number",
}
PAIR = _FORMS["tuple_type"]
_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "from",
    "less_than": "below",
    "less_than_equal": "up to",
}


def form(kind: str, message: str) -> str:
    """What pydantic expected where it reports a problem of a `kind`, with its own message."""
    if kind in _FORMS:
        return _FORMS[kind]
    return (message[0].lower() + message[1:]).removeprefix("input should be ").removeprefix("value error, ")


def bounded(kind: str, bound: float) -> str:
    return f"a number {_BOUNDS[kind]} {bound:,.15g}"


def at_most(entries: int) -> str:
    return f"at most {entries} entries"


def not_empty(table: bool) -> str:
    return f"a {'table' if table else 'list'} with at least one entry"


def shown(value: object) -> str:
    """A value as a message names it."""
    match value:
        case dict() | list():
            word = "table" if isinstance(value, dict) else "list"
            return f"a {word}" if value else f"an empty {word}"
        case str():
            text = " ".join(value.split())
            return f"'{text[:60]}{'...' if len(text) > 60 else ''}'"
        case bool() | int() | float():
            return str(value).lower()
    return "nothing" if value is None else "a value"


NO_VALUE = "write a value; null only removes what an extended spec has"
GROUPS_OF_EQUATIONS = (
    "equations stand in groups: below 'equations:' write a line 'market: |', and below that the equations"
)
SYSTEMS = "below 'solve:' write a name, such as 'goods market:', and below that 'unknowns:' and 'equations:'"
UNKNOWNS = "each unknown has a line of its own, such as 'rent: {between: [0.01, 100]}'"
CHOICES = "for example [0, 1, 2], or {from: 0, to: 10, step: 1}"
SPACE_AFTER_COLON = "write a space after ':'"
VERSION = "this rbcc reads version 1 of the language"
CHOOSE = "name the agent type of which one is chosen; numbers to choose from are 'choices'"
SHARES = "name the agent type among whose members the whole is divided"
COMPUTED_SIZE = "write the number: sizes are not computed; '--set' changes them from outside"


def equations_as_table(group: str) -> str:
    return f"write '{group}: |' and below it lines such as x'[j] = y[j]"


def write(text: object) -> str:
    return f"write {text}"


def names_for_dashes(name: str) -> str:
    return f"'{name}' has names in place of dashes: 'first: ...', 'second: ...'"


# --- warnings to silence ---------------------------------------------------------------------------------------------


def no_code(code: str, span: Span) -> Diagnostic:
    close = suggest(code, CODES)
    return error(
        "RB106",
        f"there is no code '{code}'",
        span,
        expected=f"codes of warnings: {listed(sorted(WARNINGS))}",
        help=f"did you mean {close} ({CODES[close]})?" if close else None,
    )


def not_a_warning(code: str, span: Span) -> Diagnostic:
    return error(
        "RB106",
        f"{code} is an error ({CODES[code]}): it cannot be silenced",
        span,
        expected=f"codes of warnings: {listed(sorted(WARNINGS))}",
    )
