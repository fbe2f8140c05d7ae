"""The gateway against its peers: CPU, delay and loss of fanning market data out to many WebSocket clients."""
