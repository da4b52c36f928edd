"""A sample market maker: an ordinary API client."""
