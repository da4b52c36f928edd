"""Backups of every store."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.backups import Backups
from exchange_constructs.encryption_keys import BackupKeys
from stacks.base_stack import ExchangeStack


class BackupStack(ExchangeStack):
    """Finds what it copies by a mark, so that a new store is copied without a line here."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create vaults and plans."""
        super().__init__(scope, construct_id, config=config, description="Vaults, backup plans, restore rehearsals")
        keys = BackupKeys(self, "Keys", config=config)
        self.backups = Backups(self, "Backups", config=config, key=keys.vault)
