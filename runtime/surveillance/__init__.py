"""Watches what is traded for patterns that a market must not have."""
