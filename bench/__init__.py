"""Benchmarks: `make bench` runs them all, `make bench ONLY=name` one. Each is a ratio to a baseline of the same run.

Absolute figures of a small shared machine mean little; a ratio to something that everyone knows, measured minutes apart
on the same input, means more. Nothing here is a test and nothing here fails for being slow. What a figure rests on is
checked before it counts: hashes, counts, conservation.
"""
