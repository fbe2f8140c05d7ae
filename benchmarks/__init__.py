"""Every published figure, one command each."""
