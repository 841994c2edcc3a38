"""Expressions of the IR as Python text on arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rbcc.compiler import ir
from rbcc.compiler.backends.jax.statistics import HELPERS
from rbcc.compiler.ir.axis_order import layout, merge_axes
from rbcc.compiler.ir.precedence import ATOM, COMPARISON, OF_OPERATOR, POWER, PRODUCT, SUM, UNARY
from rbcc.compiler.ir.types import Kind


WIDTH = 100

_COMPARISONS = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}


_STATISTICS = {
    "gini": "gini", "median": "quantile", "quantile": "quantile", "top_share": "top_share", "argmax": "jnp.argmax",
    "argmin": "jnp.argmin",
}  # fmt: skip
"""The reductions that are functions of a whole array; what runs over several indices is laid out on one axis."""


def helper(node: ir.Expression) -> str | None:
    """The name of the function that the generated module needs for `node`."""
    return _STATISTICS.get(node.operator) if isinstance(node, ir.Reduce) else None


@dataclass(frozen=True)
class Code:
    """A piece of Python whose value has the axes `axes`, in the order of the layout."""

    text: str
    axes: tuple[str, ...] = ()
    precedence: int = ATOM

    def within(self, precedence: int) -> str:
        return f"({self.text})" if self.precedence < precedence else self.text


class Expressions:
    """Emits expressions of one model with given local names."""

    def __init__(self, model: ir.Model, names: dict[str, str]):
        self.model, self.names = model, names
        self.symbols = {symbol.name: symbol for symbol in model.symbols}
        self.primitives = {primitive.name: primitive for primitive in model.primitives}
        self.rank = {index: (model.count(owner), k) for k, (index, owner) in enumerate(model.indices)}
        self.candidates = {action.candidates: action.size for action in model.actions if action.where is not None}
        self.rank |= dict.fromkeys(self.candidates, (0, 0))  # before all others

    def size(self, index: str | None) -> int:
        if index in self.candidates:
            return self.candidates[index]
        return self.model.count(self.model.set_of(index)) if index else 1

    def sorted(self, axes: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(axes, key=lambda axis: self.rank[axis]))

    def aligned(self, code: Code, axes: Sequence[str], precedence: int = ATOM) -> str:
        """`code` with an axis of length one for each of `axes` that it lacks. Scalars broadcast by themselves."""
        if not code.axes or tuple(code.axes) == tuple(axes):
            return code.within(precedence)
        return code.within(ATOM) + expand([axis in code.axes for axis in axes])

    def arranged(self, code: Code, axes: Sequence[str]) -> Code:
        """`code` with its axes in the order that they have in `axes`."""
        wanted = tuple(axis for axis in axes if axis in code.axes)
        if wanted == code.axes:
            return code
        order = tuple(code.axes.index(axis) for axis in wanted)
        return Code(f"jnp.transpose({code.text}, {order})", wanted)

    def numeric(self, node: ir.Expression) -> Code:
        """The code of `node` for arithmetic, in which true counts as 1."""
        code = self.code(node)
        if node.type.kind is Kind.FLAG:
            return Code(f"jnp.asarray({code.text}, float)", code.axes)
        return code

    def code(self, node: ir.Expression, whole: bool = False) -> Code:
        """The Python for `node`; `whole` makes an index the integers that it counts rather than numbers."""
        match node:
            case ir.Constant(bool() as value):
                return Code(repr(value))
            case ir.Constant(Fraction() as value):
                return Code(repr(float(value)), (), ATOM if value >= 0 else UNARY)
            case ir.Table():
                return self.table(node)
            case ir.IndexValue(index):
                return Code(f"jnp.arange({self.size(index)}{'' if whole else '.0'})", (index,))
            case ir.Reference():
                return self.reference(node)
            case ir.Unary("not", operand):
                inner = self.code(operand)
                return Code(f"jnp.logical_not({inner.text})", inner.axes)
            case ir.Unary(_, operand):
                inner = self.numeric(operand)
                return Code(f"-{inner.within(UNARY)}", inner.axes, UNARY)
            case ir.Binary():
                return self.binary(node)
            case ir.Conditional(condition, then, otherwise):
                number = node.type.kind is Kind.NUMBER
                branches = [(self.numeric if number else self.code)(part) for part in (then, otherwise)]
                return self.call("jnp.where", [self.code(condition), *branches])
            case ir.Apply(function, arguments):
                return self.apply(function, [self.numeric(argument) for argument in arguments])
            case ir.Reduce():
                return self.statistic(node) if node.operator in _STATISTICS else self.reduce(node)
            case ir.SegmentSum():
                return self.segment_sum(node)
            case ir.Draw():
                return self.draw(node)
            case ir.Root():  # which is solved before
                return self.reference(node.itself)
        raise TypeError(node)

    def table(self, node: ir.Table) -> Code:
        """The numbers of a table, in the order of the layout, a hundred characters a line."""
        axes = self.sorted(node.indices)
        if not axes:
            return Code(repr(node.values[0]))
        numbers, shape = list(node.values), tuple_text(self.size(axis) for axis in axes)
        if axes != node.indices:
            columns = self.size(node.indices[1])
            numbers = [number for k in range(columns) for number in numbers[k::columns]]
        lines, line = [], ""
        for number in numbers:
            line = f"{line} {number!r},".lstrip()
            if len(line) > WIDTH:
                lines.append(line)
                line = ""
        inner = "\n        ".join([*lines, line] if line else lines)
        dtype = "bool" if node.type.kind is Kind.FLAG else "float"
        flat = f"jnp.asarray(({inner}), {dtype})"
        return Code(flat if len(axes) == 1 else f"jnp.reshape({flat}, {shape})", axes)

    def call(self, function: str, arguments: Sequence[Code]) -> Code:
        axes = self.sorted(merge_axes(*(argument.axes for argument in arguments)))
        inner = ", ".join(self.aligned(argument, axes, 0) for argument in arguments)
        return Code(f"{function}({inner})", axes)

    def apply(self, function: str, arguments: list[Code]) -> Code:
        inline = self.primitives[function].inline
        if inline is None:
            return self.call(function, arguments)
        result = arguments[0]
        if self.primitives[function].variadic:
            for argument in arguments[1:]:
                result = self.call(f"jnp.{inline}", [result, argument])
            return result
        return self.call(f"jnp.{inline}", arguments)

    def binary(self, node: ir.Binary) -> Code:
        operator = node.operator
        if operator in ("and", "or"):
            return self.call(f"jnp.logical_{operator}", [self.code(node.left), self.code(node.right)])
        if operator in _COMPARISONS:
            members = {Kind.CHOICE, Kind.INDEX}
            whole = node.left.type.kind in members and node.right.type.kind in members
            left, right = (
                self.code(part, whole=True) if whole else self.numeric(part) for part in (node.left, node.right)
            )
            axes = self.sorted(merge_axes(left.axes, right.axes))
            sides = (self.aligned(left, axes, SUM), self.aligned(right, axes, SUM))
            if not axes:  # two Python numbers would compare to a Python bool
                return Code(f"jnp.{_COMPARISONS[operator]}({left.text}, {right.text})")
            return Code(f"{sides[0]} {operator} {sides[1]}", axes, COMPARISON)
        left, right = self.numeric(node.left), self.numeric(node.right)
        axes = self.sorted(merge_axes(left.axes, right.axes))
        if operator == "^":
            if isinstance(node.left, ir.Constant):  # Python's own power of a negative number is complex
                return self.call("jnp.power", [left, right])
            exponent = node.right.value if isinstance(node.right, ir.Constant) else None
            if isinstance(exponent, Fraction) and exponent.denominator == 1:
                right = Code(str(exponent.numerator), (), ATOM if exponent >= 0 else UNARY)
            return Code(f"{self.aligned(left, axes, ATOM)} ** {self.aligned(right, axes, UNARY)}", axes, POWER)
        precedence = OF_OPERATOR[operator]
        sides = self.aligned(left, axes, precedence), self.aligned(right, axes, precedence + 1)
        return Code(f"{sides[0]} {operator} {sides[1]}", axes, precedence)

    def reference(self, node: ir.Reference) -> Code:
        local = self.names[node.symbol]
        if not node.indices:
            return Code(local, node.type.axes)  # none, but of a choice that stands for all that there are
        plain = [index for index in node.indices if isinstance(index, str)]
        order = layout(self.model, self.symbols[node.symbol])
        if len(plain) == len(node.indices) and len(set(plain)) == len(plain):
            axes = tuple(plain[k] for k in order)
            return self.arranged(Code(local, axes), self.sorted(axes))
        # A lookup: every axis of the array gets an index array, and these are aligned with each other.
        axes = self.sorted(node.type.axes)
        parts = []
        for k in order:
            index = node.indices[k]
            inner = Code(f"jnp.arange({self.size(index)})", (index,)) if isinstance(index, str) else self.code(index)
            parts.append(self.aligned(inner, axes, 0))
        return Code(f"{local}[{', '.join(parts)}]", axes)

    def reduce(self, node: ir.Reduce) -> Code:
        body = self.numeric(node.body)
        condition = self.code(node.condition) if node.condition is not None else None
        if condition is not None:
            neutral = Code("1.0" if node.operator == "product" else "0.0")
            body = self.call("jnp.where", [condition, body, neutral])
        absent = [index for index in node.indices if index not in body.axes]
        present = [index for index in node.indices if index in body.axes]
        repeats = 1
        for index in absent:
            repeats *= self.size(index)
        text = body
        if present:
            function = {"count": "sum", "product": "prod"}.get(node.operator, node.operator)
            axes = tuple(sorted(body.axes.index(index) for index in present))
            axis = str(axes[0]) if len(axes) == 1 else str(axes)
            kept = tuple(axis for axis in body.axes if axis not in present)
            text = Code(f"jnp.{function}({body.text}, axis={axis})", kept)
        if repeats > 1 and node.operator in ("sum", "count"):
            return Code(f"{float(repeats)!r} * {text.within(PRODUCT + 1)}", text.axes, PRODUCT)
        if repeats > 1 and node.operator == "product":
            return self.call("jnp.power", [text, Code(repr(float(repeats)))])
        return text

    def statistic(self, node: ir.Reduce) -> Code:
        """A function of what is sorted or compared, which its helper expects on the last axis."""
        body, function = self.numeric(node.body), _STATISTICS[node.operator]
        arguments = [self.numeric(node.level)] if node.level is not None else []
        if node.operator == "median":
            arguments = [Code("0.5")]
        outer = self.sorted(merge_axes(*(part.axes for part in (body, *arguments))))
        outer = tuple(axis for axis in outer if axis not in node.indices)
        axes = (*outer, *self.sorted(node.indices))
        text = self.aligned(self.arranged(body, axes), axes, 0)
        if len(node.indices) > 1 or not set(node.indices) <= set(body.axes):
            sizes = [self.size(axis) for axis in axes]
            text = f"jnp.broadcast_to({text}, {tuple_text(sizes)})"
            if len(node.indices) > 1:
                text = f"jnp.reshape({text}, {tuple_text([*sizes[: len(outer)], -1])})"
        if function not in HELPERS:
            return Code(f"{function}({text}, axis=-1)", outer)
        return Code(f"{function}({', '.join([text, *(self.aligned(one, outer, 0) for one in arguments)])})", outer)

    def segment_sum(self, node: ir.SegmentSum) -> Code:
        choice = self.code(node.choice)
        body = self.numeric(node.body)
        segments = self.size(node.segment)
        values = body.text if body.axes else f"jnp.full({self.size(node.index)}, {body.text})"
        text = f"jax.ops.segment_sum({values}, {choice.text}, {segments})"
        return Code(text, (node.segment,))

    def draw(self, node: ir.Draw) -> Code:
        axes = self.sorted(node.type.axes)
        shape = tuple_text(self.size(axis) for axis in axes)
        key = f"keys[{node.number}]"
        if node.distribution == "bernoulli":
            chance = self.aligned(self.numeric(node.arguments[0]), axes, 0)
            return Code(f"jax.random.bernoulli({key}, {chance}, {shape})", axes)
        return Code(f"jax.random.{node.distribution}({key}, {shape})", axes)


def expand(present: Sequence[bool]) -> str:
    """The index expression that gives an array an axis of length one wherever one is not present."""
    return f"[{', '.join(':' if here else 'None' for here in present)}]"


def tuple_text(parts: Iterable[object]) -> str:
    found = [str(part) for part in parts]
    return f"({found[0]},)" if len(found) == 1 else f"({', '.join(found)})"
