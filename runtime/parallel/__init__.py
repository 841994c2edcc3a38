"""Work shared among devices and hosts."""
