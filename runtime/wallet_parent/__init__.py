"""The host of the enclave: moves bytes and keeps ciphertexts; holds no secret and decides nothing."""
