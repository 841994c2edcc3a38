"""What the equations of a model say of its accounts and identities, without running it."""

from rbcc.compiler.analysis.accounting.flow_table import (
    FlowTable as FlowTable,
    Loose as Loose,
    Missing as Missing,
    Row as Row,
    Term as Term,
    flow_tables as flow_tables,
)
from rbcc.compiler.analysis.accounting.prove import of_states as of_states, proofs as proofs
