"""What every Lambda function shares: one logger, tracer and set of metrics, batches, and memory of what was done.

Their names come from the function's environment: POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_NAMESPACE,
IDEMPOTENCY_TABLE. Logs hold ids, never payloads, names, addresses or secrets.
"""

import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypedDict, TypeVar

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

logger: Final = Logger()
tracer: Final = Tracer()
metrics: Final = Metrics()

REMEMBERED_S: Final = 24 * 3600
"""How long a request is remembered: longer than any delivery is retried (12 hours on a stream)."""

Answer = TypeVar("Answer")


class Failure(TypedDict):
    """One record that has to come again."""

    itemIdentifier: str


class BatchAnswer(TypedDict):
    """What Lambda wants to hear about a batch: the records that were not handled."""

    batchItemFailures: list[Failure]


def each_message(event: Mapping[str, Any], handle: Callable[[SQSRecord], None]) -> BatchAnswer:
    """Hand every message of an SQS batch to `handle`; those for which it raises come again, the others do not."""
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False, logger=logging.getLogger(__name__))
    answer: Any = process_partial_response(event=dict(event), record_handler=handle, processor=processor)
    return BatchAnswer(batchItemFailures=answer["batchItemFailures"])


def each_record(event: Mapping[str, Any], handle: Callable[[Mapping[str, Any]], None]) -> BatchAnswer:
    """Hand the records of a stream's batch to `handle`, in order, up to the first for which it raises.

    That one and all after it come again: going on would break the order. `handle` gets the record as Lambda hands it
    over: for Kinesis, its `kinesis` member has `data` (base64), `partitionKey` and `sequenceNumber`.
    """
    for record in event["Records"]:
        place = record.get("kinesis") or record["dynamodb"]
        number = place.get("sequenceNumber") or place["SequenceNumber"]
        try:
            handle(record)
        except Exception:  # the top of the function's shell: reported, and retried by Lambda
            logger.exception("a record was not handled", sequence_number=number)
            return BatchAnswer(batchItemFailures=[Failure(itemIdentifier=number)])
    return BatchAnswer(batchItemFailures=[])


def once(context: LambdaContext, purpose: str, key: str, work: Callable[[], Answer]) -> Answer:
    """Do `work` unless it was done for this `purpose` and `key` within REMEMBERED_S; return its answer either way.

    The answer must be JSON. While another invocation is at it, IdempotencyAlreadyInProgressError is raised, which is
    right: the delivery comes again. When `work` raises, nothing is remembered; when the function is stopped in the
    middle of it, the claim ends when its time by `context` would have been up.
    """
    remember = IdempotencyConfig(expires_after_seconds=REMEMBERED_S, hash_function="sha256", lambda_context=context)

    def run(*, key: str) -> Answer:
        _ = key
        return work()

    guarded = idempotent_function(
        run, data_keyword_argument="key", persistence_store=_memory(), config=remember, key_prefix=purpose
    )
    answer: Answer = guarded(key=key)
    return answer


@cache
def _memory() -> DynamoDBPersistenceLayer:
    return DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"])
