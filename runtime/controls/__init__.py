"""Market controls: halts that one operator may make alone, and openings and limits that need two more to sign."""
