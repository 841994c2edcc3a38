from dataclasses import replace

from rbcc.compiler import ir
from rbcc.compiler.ir.types import Kind, Type
from rbcc.compiler.ir.units import ONE


# Comparing every agent with every member of the chosen type vectorises, and fuses with what surrounds it; gathering and
# scattering take time per agent only. Above this many members the second way is faster: on a CPU as `bench/pairs.py`
# gave, on a GPU by estimate, not measurement (each gather is a kernel of its own, and comparing is nearly free).
MAX_MEMBERS = {"cpu": 5, "gpu": 64}


def most_members(device: str) -> int:
    """Up to how many members all pairs are compared on a kind of device."""
    return MAX_MEMBERS["cpu" if device == "cpu" else "gpu"]


def pairs(model: ir.Model, most: int) -> ir.Model:
    """Chooses how agents are matched with the members they choose: all pairs compared, or gathers and segment sums.

    All pairs are compared with types of up to `most` members.
    """
    return ir.rebuild(model, lambda node: _matched(node, model, most))


def _matched(node: ir.Expression, model: ir.Model, most: int) -> ir.Expression:
    if isinstance(node, ir.Reference):
        return _lookup(node, model, most)
    if isinstance(node, ir.Reduce):
        return _segment_sum(node, model, most)
    return node


def _lookup(node: ir.Reference, model: ir.Model, most: int) -> ir.Expression:
    """`x[chosen[i]]` as the sum of `x[j]` over the one j that `chosen[i]` is, if there are few j."""
    lookups = [index for index in node.indices if not isinstance(index, str)]
    if len(lookups) != 1 or model.symbol(node.symbol).type.kind is not Kind.NUMBER:
        return node
    chosen = lookups[0]
    owner = chosen.type.of or ""
    taken = set(node.type.axes)
    for part in ir.walk(chosen):
        if isinstance(part, ir.IndexValue):
            taken.add(part.index)
        elif isinstance(part, ir.Reduce):
            taken.update(part.indices)
    free = [index for index in model.agent(owner).indices if index not in taken]
    if model.count(owner) > most or not free:
        return node
    index = free[0]
    indices = tuple(index if part is chosen else part for part in node.indices)
    member = ir.IndexValue(index, Type(Kind.INDEX, (index,), ONE, of=owner))
    match = ir.Binary("==", chosen, member, Type(Kind.FLAG, (*chosen.type.axes, index), ONE, chosen.type.time))
    body = ir.Reference(node.symbol, indices, replace(node.type, axes=(*node.type.axes, index)))
    return ir.Reduce("sum", (index,), match, body, replace(node.type, kind=Kind.NUMBER))


def _segment_sum(node: ir.Reduce, model: ir.Model, most: int) -> ir.Expression:
    """A sum over the agents i whose choice is j, if there are many j."""
    condition = node.condition
    if node.operator not in ("sum", "count") or len(node.indices) != 1 or not isinstance(condition, ir.Binary):
        return node
    index = node.indices[0]
    sides = (condition.left, condition.right), (condition.right, condition.left)
    for choice, segment in sides:
        if (
            condition.operator == "=="
            and choice.type.kind is Kind.CHOICE
            and choice.type.axes == (index,)
            and isinstance(segment, ir.IndexValue)
            and segment.index != index
            and set(node.body.type.axes) <= {index}
            and model.count(choice.type.of or "") > most
        ):
            return ir.SegmentSum(index, segment.index, choice, node.body, node.type)
    return node
