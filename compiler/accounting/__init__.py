"""What the equations of a model say of its accounts and identities, without running it."""

from rbcc.compiler.accounting.flows import (
    FlowTable as FlowTable,
    Loose as Loose,
    Missing as Missing,
    Row as Row,
    Term as Term,
    flow_table as flow_table,
)
from rbcc.compiler.accounting.proof import proved as proved
