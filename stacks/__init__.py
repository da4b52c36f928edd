"""Units of deployment: each composes constructs and defines nothing itself. Read `exchange_stage.py` first."""
