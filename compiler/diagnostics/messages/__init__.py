"""What messages say, by theme. A checker decides that something is wrong and calls one of these with what it knows.

Every function returns the finding. Units, names and indices come as text; a span stands for what its author wrote.
"""

from rbcc.compiler.diagnostics.messages import indices as indices, kinds as kinds, timing as timing, units as units
