"""What each further brokerpool in a chain costs; see README.md."""
