"""What was believed before the patient spoke: data only."""
