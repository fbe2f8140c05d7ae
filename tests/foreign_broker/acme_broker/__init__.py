"""Acme, a made-up broker that has little in common with Kite: JSON, a hello, signs of life, two tokens."""
