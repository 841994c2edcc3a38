"""What messages say, by theme. A checker decides that something is wrong and calls one of these with what it knows.

Every function returns the finding. Units, names and indices come as text; a span stands for what its author wrote.
"""

from rbcc.compiler.diagnostics.messages import (
    accounts as accounts,
    calls as calls,
    chains as chains,
    data as data,
    declarations as declarations,
    definitions as definitions,
    indices as indices,
    kinds as kinds,
    names as names,
    observations as observations,
    schema as schema,
    statements as statements,
    systems as systems,
    timing as timing,
    training as training,
    units as units,
)
