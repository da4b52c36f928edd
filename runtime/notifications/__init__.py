"""Tells customers what happened to their account."""
