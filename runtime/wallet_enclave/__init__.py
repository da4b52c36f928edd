"""The signer inside a Nitro Enclave: holds keys, checks every withdrawal itself, trusts nobody outside."""
