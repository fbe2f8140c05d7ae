"""Eight strangers attack a gateway while its clients go on: what the clients notice, and what it costs."""
