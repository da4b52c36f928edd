"""The matching engine: accounts, books, journal."""
