"""What the edge keeps in Jakarta."""

from aws_cdk import CfnOutput
from constructs import Construct

from config.model import Environment
from exchange_constructs.edge_store import EdgeLogs, SiteCopy
from exchange_constructs.encryption_keys import EdgeStoreKeys
from stacks.base_stack import ExchangeStack
from stacks.foundation_stack import FoundationStack


class EdgeStoreStack(ExchangeStack):
    """A copy of the site for bad days, and the logs of the edge, under a key that opens nothing else."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, foundation: FoundationStack
    ) -> None:
        """Create both buckets."""
        super().__init__(scope, construct_id, config=config, description="Copy of the site, logs of the edge")
        keys = EdgeStoreKeys(self, "Keys", config=config)
        self.site_copy = SiteCopy(self, "SiteCopy", config=config, key=keys.edge, access_logs=foundation.access_logs)
        self.logs = EdgeLogs(self, "Logs", config=config, key=keys.edge, access_logs=foundation.access_logs)
        CfnOutput(self, "SiteCopyBucket", value=self.site_copy.bucket.bucket_name)  # for `scripts.publish_site`
