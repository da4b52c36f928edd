"""A queue that only those granted can use: under our key, over TLS, and with somewhere for what cannot be handled."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment

RETENTION: Final = Duration.days(14)
"""The longest that SQS keeps a message."""
ATTEMPTS_MAX: Final = 10


class PrivateQueue(sqs.Queue):
    """Messages of one kind. In prod the queue outlives its stack."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        dead_letters: sqs.IQueue | None,
        attempts_max: int = ATTEMPTS_MAX,
        taken_for: Duration | None = None,
    ) -> None:
        """Create the queue.

        What was received `attempts_max` times and not deleted moves on to `dead_letters`; a message that is `taken_for`
        so long without being deleted, 30 seconds unless told, can be received again.
        """
        super().__init__(
            scope,
            construct_id,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=RETENTION,
            visibility_timeout=taken_for,
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=attempts_max)
            if dead_letters
            else None,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
