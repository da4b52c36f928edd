"""Opens accounts, issues API keys, credits deposits."""
