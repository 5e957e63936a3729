"""Functions shared by the scripts that make tables and figures, and by the studies."""
