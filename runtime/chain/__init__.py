"""What the exchange sees of the chains: whether a node can be believed, and which deposits are final."""
