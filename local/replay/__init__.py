"""Plays a recorded market feed through the API of the running exchange and reports how well our book followed it."""
