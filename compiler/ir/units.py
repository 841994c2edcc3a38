"""The algebra of units: products of named base units with rational powers."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """A product of powers of base units, such as money/good; without any it is a pure number."""

    powers: tuple[tuple[str, Fraction], ...] = ()

    @staticmethod
    def base(name: str) -> "Unit":
        return Unit(((name, Fraction(1)),))

    @staticmethod
    def _of(powers: Mapping[str, Fraction]) -> "Unit":
        return Unit(tuple(sorted((name, power) for name, power in powers.items() if power)))

    def __mul__(self, other: "Unit") -> "Unit":
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, Fraction(0)) + power
        return Unit._of(powers)

    def __truediv__(self, other: "Unit") -> "Unit":
        return self * other**-1

    def __pow__(self, exponent: Fraction | int) -> "Unit":
        return Unit._of({name: power * exponent for name, power in self.powers})

    def __str__(self) -> str:
        above = [_factor(name, power) for name, power in self.powers if power > 0]
        below = [_factor(name, -power) for name, power in self.powers if power < 0]
        return "*".join(above or ["1"]) + "".join(f"/{factor}" for factor in below)


ONE = Unit()


def _factor(name: str, power: Fraction) -> str:
    if power == 1:
        return name
    decimal = f"{float(power):.4g}"
    return f"{name}^{decimal}" if Fraction(decimal) == power else f"{name}^({power})"
