"""What other venues pay: their messages, the price they agree on, and when there is none."""
