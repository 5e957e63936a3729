"""What several scripts share of a task family: each file is what one of them would hold if it were alone."""
