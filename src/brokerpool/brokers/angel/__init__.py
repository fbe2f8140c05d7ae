"""Angel One (SmartAPI): its feed SmartStream, its wire format, its HTTP API and its instrument list."""
