"""Lambda: scores the minutes of each market in the trade stream, and says in the queue of findings what stands out.

ENDPOINT names the SageMaker endpoint whose scores count. Where it is empty, or does not answer, the baseline that the
market itself has taught is used, by the same code.
"""

import base64
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runtime.anomaly.baseline import Baseline, Score
from runtime.anomaly.features import NAMES, Features
from runtime.anomaly.model import Request
from runtime.anomaly.scorer import Memory, by_baseline, take
from runtime.shared.functions import BatchAnswer, each_record, logger, metrics, tracer
from runtime.shared.market_memory import MarketMemory
from runtime.shared.trade_records import by_market, decode_batch
from runtime.surveillance.findings import encode_finding


@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def follow(event: Mapping[str, Any], _context: LambdaContext) -> BatchAnswer:
    """Score every trade of a batch of the stream, in order, up to the first record that fails."""
    return each_record(event, _take)


def _take(record: Mapping[str, Any]) -> None:
    """Score a record. Findings leave before the memory is stored, so one that was cut off is scored again as new."""
    batch = decode_batch(base64.b64decode(record["kinesis"]["data"]))
    for market, trades in by_market(batch.trades):
        memory = _memories().load(market)
        before = memory.last_trade_id
        for trade in trades:
            scored = take(memory, trade, _judge)
            if scored is None:
                continue
            # `anomaly_drift_ppm` is read from this line by a metric filter.
            logger.info("scored", market=market, score=scored.score.value, anomaly_drift_ppm=scored.drift_ppm)
            if scored.finding:
                _queue().send_message(QueueUrl=os.environ["FINDING_QUEUE"], MessageBody=encode_finding(scored.finding))
        if memory.last_trade_id != before:
            _memories().save(memory, before)


def _judge(market: int, baseline: Baseline, minute: Features) -> Score:
    endpoint = os.environ["ENDPOINT"]
    if not endpoint:
        return by_baseline(market, baseline, minute)
    try:
        answer = _models().invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=msgspec.json.encode(Request(market, minute))
        )
        given = msgspec.json.decode(answer["Body"].read(), type=Score)
        if given.value < 0 or given.feature not in NAMES:
            raise ValueError(f"a score must be 0 or more, for a feature, was {given}")
    except (BotoCoreError, ClientError, msgspec.MsgspecError, ValueError):
        logger.exception("the model did not answer", market=market)
        metrics.add_metric("ModelSilent", "Count", 1)
        return by_baseline(market, baseline, minute)
    return given


@cache
def _memories() -> MarketMemory[Memory]:
    return MarketMemory(boto3.resource("dynamodb").Table(os.environ["MEMORY_TABLE"]), Memory)


@cache
def _queue() -> Any:  # noqa: ANN401 - boto3's client
    return boto3.client("sqs")


@cache
def _models() -> Any:  # noqa: ANN401 - boto3's client
    """Return a client that gives up soon: the baseline answers instead."""
    waits = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=waits)
