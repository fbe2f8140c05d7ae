"""Orders: calls of OpenAlgo's REST that are passed through to the account that carries them."""
