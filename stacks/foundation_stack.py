"""What everything else stands on: keys, the bucket of access records, the operators' topic."""

from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.private_bucket import AccessLogBucket
from stacks.base_stack import ExchangeStack


class FoundationStack(ExchangeStack):
    """Deployed first, changed hardly ever."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create keys, access-log bucket and operators' topic."""
        super().__init__(scope, construct_id, config=config, description="Keys, access records, operators' topic")
        self.keys = EncryptionKeys(self, "Keys", config=config)
        self.access_logs = AccessLogBucket(self, "AccessLogs", config=config)
        self.operators = sns.Topic(self, "Operators", master_key=self.keys.messages, enforce_ssl=True)
