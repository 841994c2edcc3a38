"""How far trained policies are from an equilibrium: deviations, statistics, verdicts."""
