"""Economies as environments of other libraries: `rbcc.adapters.pettingzoo`, `rbcc.adapters.jaxmarl`."""
