"""Every diagnostic code with its title. A code, once published, keeps its meaning."""

CODES = {
    # files and YAML
    "RB001": "file cannot be read",
    "RB002": "not valid YAML",
    "RB003": "key given twice",
    "RB004": "YAML feature that specs do not use",
    "RB005": "file too large",
    "RB006": "specs that extend each other in a circle",
    "RB007": "override that changes nothing",
    "RB008": "custom primitives cannot be loaded",
    # keys and values of the spec
    "RB101": "unknown key",
    "RB102": "missing key",
    "RB103": "value of the wrong form",
    "RB104": "number in a notation that specs do not have",
    "RB105": "key without a value",
    "RB106": "code that cannot be silenced",
    "RB110": "list or table that does not fit the agents",
    "RB111": "CSV file that cannot be read as a table",
    "RB112": "cell of a CSV file that is not a number",
    "RB113": "Markov chain that cannot exist",
    # expressions and names
    "RB201": "expression that cannot be read",
    "RB202": "undefined name",
    "RB203": "name declared twice",
    "RB204": "name that two agent types declare",
    "RB205": "unknown function",
    "RB206": "wrong number of arguments",
    "RB207": "name never used",
    "RB208": "name that cannot be used here",
    "RB209": "name that hides another",
    # indices
    "RB301": "wrong number of indices",
    "RB302": "index of another agent type",
    "RB303": "index that is not bound",
    "RB304": "index bound twice",
    "RB305": "agents without an index",
    "RB306": "sum over nothing",
    # kinds of value
    "RB401": "number, flag or choice where another kind is needed",
    "RB410": "argument that a distribution cannot have",
    # units
    "RB501": "units do not agree",
    "RB502": "unknown unit",
    "RB503": "number without a unit added to one with a unit",
    "RB504": "unit that depends on the value of an exponent",
    # time and structure
    "RB601": "value read before it is known",
    "RB602": "values that need each other",
    "RB603": "state without an equation",
    "RB604": "value with two equations",
    "RB605": "left side that cannot be assigned",
    "RB606": "observation without a scale",
    "RB607": "value observed twice",
    "RB608": "end that agents do not see coming",
    "RB609": "unknowns and equations that do not go together",
    # choices, training and verification
    "RB701": "choices that cannot be offered",
    "RB702": "training setting that does not fit the model",
    "RB703": "verification setting that does not fit the model",
    "RB704": "agent without a choice",
    # what is legal and looks like a mistake
    "RB801": "discount factor that looks wrong",
    "RB802": "part that an episode of one step does not need",
    "RB803": "share outside 0 to 1",
    "RB804": "choice that cannot affect its own reward",
    "RB805": "observation with a scale that hides it",
    "RB806": "rewards of very different size",
    "RB807": "jump where agents learn by derivatives",
    "RB808": "difference of large numbers",
    # accounts
    "RB901": "flow with only one end",
    "RB902": "declared flow that no equation has",
    "RB903": "entry of an account that is not a stock",
    "RB904": "account in two units",
    "RB905": "unit of account without an account",
}

WARNINGS = frozenset(
    {
        "RB207",
        "RB503",
        "RB504",
        "RB607",
        "RB608",
        "RB801",
        "RB802",
        "RB803",
        "RB804",
        "RB805",
        "RB806",
        "RB807",
        "RB808",
        "RB905",
    }
)
"""Codes of findings that stop nothing; a spec can silence them."""
