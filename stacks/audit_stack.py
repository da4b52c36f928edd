"""Records of who did what, in an account of their own."""

from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import AuditArchive
from exchange_constructs.configuration_history import ConfigurationHistory
from exchange_constructs.encryption_keys import AuditKeys
from exchange_constructs.operator_topics import OperatorTopics
from stacks.base_stack import ExchangeStack


class AuditStack(ExchangeStack):
    """Deployed before anything it records. In an account shared with others, their administrator reaches it too."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the archive in the audit account."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Locked archive of audit records, and questions to it",
            env=Target(account=config.accounts.audit, region=config.region),
        )
        # Even where another stack of the account has a pair: nothing that the archive is for comes before it.
        self.topics = OperatorTopics(self, "Operators", config=config)
        keys = AuditKeys(self, "Keys", config=config)
        self.archive = AuditArchive(self, "Archive", config=config, key=keys.audit)
        ConfigurationHistory(self, "Configuration", config=config, key=keys.audit, archive=self.archive)
