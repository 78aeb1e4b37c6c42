"""What each cause shows: data only."""
