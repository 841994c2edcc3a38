"""What the equations of a model say of its accounts and identities, without running it."""

from rbcc.compiler.accounting.flows import (
    FlowTable as FlowTable,
    Loose as Loose,
    Missing as Missing,
    Row as Row,
    Term as Term,
    flow_tables as flow_tables,
)
from rbcc.compiler.accounting.proof import of_states as of_states, proofs as proofs
