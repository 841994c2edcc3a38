"""Every output of the compiler is printed from the IR."""
