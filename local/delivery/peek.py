"""Looks into moto without a request: whether a queue or a shard holds something new. Nothing is changed by looking."""

from moto.backends import get_backend

from local.resolve import Json


def waiting(queue_arn: str) -> int:
    """Return how many messages of a queue could be received now; 0 for a queue that is not there."""
    _arn, _aws, _sqs, region, account, name = queue_arn.split(":")
    queue = get_backend("sqs")[account][region].queues.get(name)
    return len(queue.messages) if queue is not None else 0


def shards(stream_arn: str) -> list[str]:
    """Return the shards of a Kinesis stream or of a table's stream."""
    if ":dynamodb:" in stream_arn:
        shard = _table(stream_arn).stream_shard
        return [shard.id] if shard is not None else []
    return sorted(_stream(stream_arn).shards)


def last_number(stream_arn: str, shard_id: str) -> int:
    """Return the highest sequence number in a shard; 0 while it is empty."""
    if ":dynamodb:" in stream_arn:
        shard = _table(stream_arn).stream_shard
        return shard.starting_sequence_number + len(shard.items) - 1 if shard.items else 0
    records = _stream(stream_arn).shards[shard_id].records
    return int(next(reversed(records), 0))


def _stream(arn: str) -> Json:
    parts = arn.split(":")
    return get_backend("kinesis")[parts[4]][parts[3]].streams[arn.rpartition("/")[2]]


def _table(arn: str) -> Json:
    parts = arn.split(":")
    return get_backend("dynamodb")[parts[4]][parts[3]].tables[arn.split("/")[1]]
