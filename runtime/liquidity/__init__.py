"""The liquidity programme of market makers. It is not built: nobody's quotes are held against what was promised."""
