"""Reports, plots and plain-text forms of results."""
