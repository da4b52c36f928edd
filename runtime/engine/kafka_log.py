"""A log in Kafka: one topic of one partition, one record a batch, the writer known by a transactional id.

On AWS the cluster is MSK, entered by TLS with the IAM identity of the task. A batch of a durable log is committed
(acks=all, then the transaction) before `append` returns. When a new leader calls `acquire`, Kafka bumps the epoch of
the transactional id and refuses the older writer from then on. That is Kafka's promise and is not proven here; ours is
that a reader drops every batch that does not continue the chain, so all readers agree on what the log says.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from runtime.engine.batch import Batch, BatchError, Chain, pack_batch, parse_batch
from runtime.engine.event_log import FencedError, LogError, Mark, accept

logger = logging.getLogger(__name__)

RECORD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest record; MSK Serverless allows no more."""
ANSWER_TIMEOUT_S: Final = 10.0
"""How long brokers may take for one call before the log counts as lost."""
REPLICATION: Final = 3
_PARTITION: Final = 0
_READ_RECORDS: Final = 500
_POLL_S: Final = 0.2
_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - the library's public name for it
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }
)
_END: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's public name for it
TOPIC_SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
"""A batch stays until its topic is deleted."""


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """How a cluster is reached: the settings of librdkafka that every client of it has in common."""

    settings: dict[str, Any] = field(repr=False)
    replication: int = REPLICATION

    @classmethod
    def of_msk(cls, cluster_arn: str) -> "KafkaCluster":
        """Return the MSK cluster, entered by IAM over TLS. Errors of boto3 pass through."""
        region = cluster_arn.split(":")[3]
        brokers = boto3.client("kafka").get_bootstrap_brokers(ClusterArn=cluster_arn)["BootstrapBrokerStringSaslIam"]

        def token(_config: str) -> tuple[str, float]:
            signed, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
            return signed, expires_ms / 1000

        return cls(
            {
                "bootstrap.servers": brokers,
                "security.protocol": "SASL_SSL",
                "sasl.mechanisms": "OAUTHBEARER",
                "oauth_cb": token,
            }
        )

    def consumer(self) -> Consumer:
        """Return a reader of committed records. It belongs to no group: where it stands is ours to remember."""
        return Consumer(
            self.settings
            | {
                "group.id": "bursa-engine",  # demanded by the library, never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.message.max.bytes": RECORD_BYTES_MAX,
                "fetch.wait.max.ms": 50,
            }
        )

    def producer(self, transactional_id: str) -> Producer:
        """Return a writer that repeats nothing and reorders nothing; with an id, one that fences its predecessor."""
        settings: dict[str, Any] = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": RECORD_BYTES_MAX,
            "delivery.timeout.ms": int(ANSWER_TIMEOUT_S * 1000),
        }
        if transactional_id:
            settings["transactional.id"] = transactional_id
            settings["transaction.timeout.ms"] = int(ANSWER_TIMEOUT_S * 1000)
        return Producer(self.settings | settings)

    def ensure_topic(self, topic: str) -> None:
        """Create `topic` unless it is there. Raises LogError."""
        admin = AdminClient(self.settings)
        admin.poll(0)
        try:
            found = admin.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics.get(topic)
            if found is not None and found.error is None:
                if len(found.partitions) > 1:
                    logger.warning("topic %s has %d partitions; only the first is used", topic, len(found.partitions))
                return
            wanted = NewTopic(topic, 1, self.replication, config=TOPIC_SETTINGS)
            admin.create_topics([wanted], request_timeout=ANSWER_TIMEOUT_S)[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LogError(f"topic {topic}: {error}") from None


class KafkaLog:
    """The `EventLog` in one topic."""

    def __init__(self, cluster: KafkaCluster, name: str, group: str, *, derivable: bool = False) -> None:
        """Read the topic `name-group` from its beginning, creating it if need be. Raises LogError.

        A `derivable` log can be rebuilt from another one: `append` does not wait for the brokers.
        """
        self.chain = Chain(group)
        self.dropped = 0
        self._cluster = cluster
        self._topic = f"{name}-{group}"
        self._derivable = derivable
        cluster.ensure_topic(self._topic)
        self._consumer = cluster.consumer()
        self._seeker: Consumer | None = None  # of `read_from`, whose thread is another
        self._producer: Producer | None = None
        self._failed: KafkaError | None = None
        self._sought: Mark | None = None
        self._mark = Mark("", 0, 1, self.chain.hash)
        self._hint = (0, 0)  # a sequence and an offset where it can be found
        self._next = 0
        self._assign(0)

    def _assign(self, offset: int) -> None:
        self._next = offset
        self._consumer.assign([TopicPartition(self._topic, _PARTITION, offset)])

    # ---- reading -------------------------------------------------------------------------------------------------

    def seek(self, mark: Mark) -> None:
        """Go on reading right behind the batch that `mark` names; the next `read` checks that it is there."""
        self.chain = Chain(self.chain.group)
        if mark.position:
            self.chain.set(mark.epoch, mark.next_sequence, mark.hash)
        self._mark = mark
        self._sought = mark if mark.position else None
        self._assign(int(mark.position or 0))

    def mark(self) -> Mark:
        """Return where this reader or writer stands."""
        return self._mark

    def read(self) -> Iterator[Batch]:
        """Yield committed batches up to what is the end by now, dropping those that do not continue the chain.

        Raises LogError, also when the brokers do not answer.
        """
        end = self._end()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while self._next < end:
            for message in self._consumer.consume(_READ_RECORDS, _POLL_S):
                if (batch := self._taken(message)) is not None:
                    deadline = time.monotonic() + ANSWER_TIMEOUT_S
                    yield batch
            if time.monotonic() > deadline:
                if self._producer is None:
                    return  # the rest belongs to a transaction that is under way
                raise LogError(f"topic {self._topic}: nothing between offset {self._next} and the end, {end}")
        if self._sought:
            self._refuse_sought(self._next)

    def _end(self) -> int:
        place = TopicPartition(self._topic, _PARTITION)
        try:
            _, high = self._consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT_S, cached=False)
        except KafkaException as error:
            raise LogError(f"topic {self._topic}: {error}") from None
        return int(high)

    def _taken(self, message: Message) -> Batch | None:
        """Return the batch in `message` if it continues the chain; note how far we have read."""
        if (error := message.error()) is not None:
            if error.code() == _END:
                self._next = max(self._next, _offset(message))
            elif not error.retriable():
                raise LogError(f"topic {self._topic}: {error}")
            return None
        offset = _offset(message)
        if offset < self._next:
            return None
        self._next = offset + 1
        batch = self._parsed(message)
        if sought := self._sought:
            if batch.hash != sought.hash:
                self._refuse_sought(offset)
            self._sought = None
            return None
        try:
            self.chain.accept(batch)
        except BatchError as refusal:
            self.dropped += 1
            logger.warning("topic %s at offset %d: dropped: %s", self._topic, offset, refusal)
            return None
        self._mark = Mark(str(offset), batch.epoch, batch.next_sequence, batch.hash)
        return batch

    def _refuse_sought(self, offset: int) -> None:
        assert self._sought
        raise LogError(
            f"topic {self._topic} at offset {offset}: a snapshot names the batch before sequence "
            f"{self._sought.next_sequence}, which is not there: journal and snapshots are not of one history. Restore "
            "the journal that belongs to them, or move the snapshots away to replay this one from its beginning"
        )

    def _parsed(self, message: Message) -> Batch:
        data = message.value()
        try:
            parsed = parse_batch(bytes(data), 0) if isinstance(data, bytes) else None
        except BatchError as error:
            raise LogError(f"topic {self._topic} at offset {message.offset()}: {error}") from None
        if parsed is None:
            raise LogError(
                f"topic {self._topic} at offset {message.offset()}: not an intact batch, and no crash leaves that"
            )
        return parsed[0]

    def newest_epoch(self) -> int:
        """Return the highest epoch that was read."""
        return self.chain.epoch

    # ---- writing -------------------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Become the only writer: Kafka refuses the older one from here on, and ends what it had begun."""
        if self._producer is not None:
            return
        producer = self._cluster.producer("" if self._derivable else self._topic)
        producer.poll(0)  # lets the library ask for its first token
        if not self._derivable:
            self._try(lambda: producer.init_transactions(ANSWER_TIMEOUT_S))
        self._producer = producer

    def torn_bytes(self) -> int:
        """Return 0: a record is there whole or not at all."""
        return 0

    def begin(self, epoch: int, time_us: int, body: bytes) -> None:
        """Append the marker of a new epoch; whether it was accepted shows when it is read back."""
        if epoch <= self.chain.epoch:
            raise LogError(f"topic {self._topic}: epoch {epoch} must be above {self.chain.epoch}")
        chain = self.chain.copy()
        chain.epoch = epoch
        self._write(chain.seal(time_us, 0, body), lambda _offset: None)
        if self._derivable:
            self._flush()

    def append(self, data: bytes, first_sequence: int) -> None:
        """Write a sealed batch; return once it is committed (a derivable log: once it is on its way)."""
        del first_sequence
        stood = (self.chain.epoch, self.chain.next_sequence, self.chain.hash)

        def delivered(offset: int) -> None:
            self._mark = Mark(str(offset), *stood)

        self._write(data, delivered)

    def take(self, batch: Batch) -> None:
        """Append a batch of another copy of this log, a marker or commands, just as it was sealed."""
        accept(self.chain, batch)
        self.append(pack_batch(batch), batch.first_sequence)

    def _write(self, data: bytes, delivered: Callable[[int], None]) -> None:
        assert self._producer is not None, "acquire first"
        if len(data) > RECORD_BYTES_MAX - 1024:
            raise LogError(f"topic {self._topic}: a batch of {len(data)} bytes; a record holds {RECORD_BYTES_MAX}")
        producer = self._producer

        def done(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = error
            else:
                delivered(_offset(message))

        if self._derivable:
            self._enqueue(producer, data, done)
        else:
            self._try(producer.begin_transaction)
            self._enqueue(producer, data, done)
            self._commit(producer)
        if self._failed is not None:
            raise LogError(f"topic {self._topic}: a batch was not delivered: {self._failed}")

    def _enqueue(self, producer: Producer, data: bytes, done: Callable[[KafkaError | None, Message], None]) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            producer.poll(0)
            try:
                producer.produce(self._topic, data, partition=_PARTITION, on_delivery=done)
            except BufferError:
                if time.monotonic() > deadline:
                    raise LogError(f"topic {self._topic}: the brokers take nothing more") from None
                producer.poll(_POLL_S)
            except KafkaException as error:
                raise self._told(error) from None
            else:
                return

    def _commit(self, producer: Producer) -> None:
        """Commit; what the brokers call retriable is asked again, since only their answer tells the outcome."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                producer.commit_transaction(ANSWER_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].retriable() and time.monotonic() < deadline:
                    continue
                raise self._told(error) from None
            return

    def sync(self) -> None:
        """Return once the brokers have what was written here; what was read they have."""
        if self._producer is not None:
            self._flush()

    def _flush(self) -> None:
        assert self._producer is not None
        if self._producer.flush(ANSWER_TIMEOUT_S) or self._failed is not None:
            raise LogError(f"topic {self._topic}: the brokers do not take what was written: {self._failed}")

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except KafkaException as error:
            raise self._told(error) from None

    def _told(self, error: KafkaException) -> LogError:
        code = error.args[0].code()
        kind = FencedError if code in _FENCED else LogError
        return kind(f"topic {self._topic}: {error}")

    # ---- finding a sequence --------------------------------------------------------------------------------------

    def read_from(self, sequence: int, bytes_max: int) -> list[Batch]:
        """Return batches from the one that holds `sequence` on, about `bytes_max` long. For one other thread."""
        if self._seeker is None:
            self._seeker = self._cluster.consumer()
        offset = self._hint[1] if self._hint[0] == sequence else self._find(sequence)
        end = self._end_of(self._seeker)
        found: list[Batch] = []
        size = 0
        while size < bytes_max and (record := self._record_at(offset, end)):
            at, batch = record
            offset = at + 1
            if batch.count and batch.first_sequence <= sequence < batch.next_sequence:
                found.append(batch)
                size += len(batch.body)
                sequence = batch.next_sequence
        self._hint = (sequence, offset)
        return found

    def _find(self, sequence: int) -> int:
        """Return an offset from which `sequence` is found by reading on, by halving the log."""
        assert self._seeker
        low, high = 0, self._end_of(self._seeker)
        while low < high:
            middle = (low + high) // 2
            record = self._record_at(middle, high)
            if record is None or record[1].next_sequence > sequence:
                high = middle
            else:
                low = record[0] + 1
        return low

    def _record_at(self, offset: int, end: int) -> tuple[int, Batch] | None:
        """Return the first record from `offset` on that is before `end`, with its own offset."""
        assert self._seeker
        if offset >= end:
            return None
        place = self._seeker.position([TopicPartition(self._topic, _PARTITION)])[0].offset
        if place != offset:
            self._seeker.assign([TopicPartition(self._topic, _PARTITION, offset)])
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline:
            message = self._seeker.poll(_POLL_S)
            if message is None:
                continue
            if (error := message.error()) is None:
                return (_offset(message), self._parsed(message)) if _offset(message) < end else None
            if error.code() == _END:
                return None
            if not error.retriable():
                raise LogError(f"topic {self._topic}: {error}")
        raise LogError(f"topic {self._topic}: no answer from the brokers at offset {offset}")

    def _end_of(self, consumer: Consumer) -> int:
        place = TopicPartition(self._topic, _PARTITION)
        try:
            return int(consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT_S, cached=False)[1])
        except KafkaException as error:
            raise LogError(f"topic {self._topic}: {error}") from None

    def close(self) -> None:
        """Give the log up. What a derivable log still has on its way is sent."""
        if self._producer is not None:
            self._producer.flush(ANSWER_TIMEOUT_S)
            self._producer = None
        self._consumer.close()
        if self._seeker is not None:
            self._seeker.close()
            self._seeker = None


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset
