"""From a spec and its syntax trees to the IR: names, indices, kinds, units, timing (elaboration)."""
