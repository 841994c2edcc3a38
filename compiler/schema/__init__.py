"""The tables of a spec: their keys and types, and reading a document into them, with recovery from errors."""
