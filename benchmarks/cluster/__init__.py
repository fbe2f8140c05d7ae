"""What a cluster costs beside one process: CPU of feed node and gateways, delay, and that nothing is lost."""
