"""How good the answers are: metrics, comparators, simulation, robustness, learning, reports."""
