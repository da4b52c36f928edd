"""The nouns of the exchange's infrastructure, one per file."""
