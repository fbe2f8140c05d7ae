"""What the author of an adapter needs to test it: a broker in virtual time, and the promises to keep."""
