"""How often each cause shows each finding, a file per theme: data only."""
