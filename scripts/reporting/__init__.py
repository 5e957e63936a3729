"""What the scripts that make tables and figures share."""
