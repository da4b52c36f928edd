"""Partners outside: KYC, bank, chain analysis. Asked by events that become calls; heard by signed webhooks."""
