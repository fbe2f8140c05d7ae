"""CPU of a broker packet from the socket to a Tick, beside the broker's official client, for each broker.

A broker brings two modules: `NAME.py` says what is decoded and how we do it, as `BENCHMARK`; `NAME_peer.py`
is the official client, as `decode` and, where it can be pointed at a server of ours, `receive`. The second
runs in a process of its own, in the client's own environment where it has one, and imports nothing of ours.
"""
