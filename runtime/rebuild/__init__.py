"""Derived streams, made again from the journal, and held against what was published: a tool for operators."""
