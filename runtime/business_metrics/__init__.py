"""What the business measures each minute: trading by market, the ledger's sum, how fast coins leave."""
