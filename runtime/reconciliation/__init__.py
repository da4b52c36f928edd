"""Whether the wallets hold what the ledger owes: by two nodes at one height, every asset by itself."""
