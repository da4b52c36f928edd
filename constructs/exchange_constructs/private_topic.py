"""Topics: under our own key, reached by TLS only."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


class PrivateTopic(sns.Topic):
    """A topic whose messages only its publishers and subscribers can read."""

    def __init__(self, scope: Construct, construct_id: str, *, key: kms.IKey) -> None:
        """Create the topic, without subscribers."""
        super().__init__(scope, construct_id, master_key=key, enforce_ssl=True)
        self._key = key

    def grant_send(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` publish; unlike `grant_publish`, with no star in the actions on the key."""
        iam.Grant.add_to_principal(grantee=grantee, actions=["sns:Publish"], resource_arns=[self.topic_arn])
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
