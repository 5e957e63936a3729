"""Steps that scripts share, each a function by its name."""
