"""Writes what the law and the house want to see of every day."""
