"""What messages say, by theme. A checker decides that something is wrong and calls one of these with what it knows.

The rule: `compiler/schema` and `compiler/semantics` hold no sentence for the author of a spec. Every function here
returns the finding, or the text of its help where a checker has to find out which help is right. Units, names, indices
and what things are called ("the value of a parameter") come as text; a span stands for what its author wrote.

Not here are the sentences of the readers of text, `compiler/source` and `compiler/syntax`, which belong to the place at
which reading stopped; those of `analysis/lint`, where a file is one rule with its finding; what a row of
`other_languages` or of `semantics/distributions` says; and the descriptions of keys and values in `schema/spec.py`,
which messages quote.
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
