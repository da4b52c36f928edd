"""What becomes of a request to withdraw, before the signer is asked. The flow that carries it is not built yet."""
