"""Where messages wait that could not be handled: each queue of them has a queue behind it, but for the last."""

from datetime import date

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.private_queue import PrivateQueue


class DeadLetters(PrivateQueue):
    """Messages that failed for good, for an operator to look at and to send again.

    What an operator's attempts have received ATTEMPTS_MAX times without deleting it moves on to `last`, so that a tool
    that sends everything again never turns in a circle with one message that cannot be handled.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, last: sqs.IQueue | None
    ) -> None:
        """Create the queue. `last` is None for the very last one, behind which there is nothing."""
        super().__init__(scope, construct_id, config=config, key=key, dead_letters=last)
        self._key = key
        if last is None:
            accept(
                self,
                "Serverless-SQSRedrivePolicy",
                reason="The last queue, behind the dead letters of the whole exchange: an alarm watches it",
                expires=date(2027, 11, 20),
            )

    def grant_leave(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` put messages here."""
        self.grant(grantee, "sqs:SendMessage")
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
