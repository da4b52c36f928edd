"""Makes of each day's raw records every trade once: what the nightly job of the lake runs."""
