"""`python -m runtime.engine.main`: one process of a market group, leader or standby."""

import asyncio
import logging
from pathlib import Path

import boto3
from pydantic import Field

from runtime.engine import IS_COMPILED
from runtime.engine.archive import Archive, Archiver, keep_copying
from runtime.engine.event_log import EventLog
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower
from runtime.engine.kafka_log import KafkaCluster, KafkaLog
from runtime.engine.lease import DynamoLeaseStore, Lease
from runtime.engine.member import Member, new_member_name
from runtime.engine.object_store import S3Store
from runtime.engine.snapshots import Snapshots
from runtime.shared import log, shell
from runtime.shared.catalogue import Catalogue
from runtime.shared.garbage import look_at_the_young
from runtime.shared.settings import ServiceSettings, read_catalogue_parameter, read_settings
from runtime.shared.tasks import end

logger = logging.getLogger(__name__)


class EngineSettings(ServiceSettings):
    """Environment of the engine."""

    group: str = Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")
    journal_cluster_arn: str = Field(min_length=1)
    snapshot_bucket: str = Field(min_length=1)
    archive_bucket: str = Field(min_length=1)
    lease_table: str = Field(min_length=1)
    state_dir: Path | None = None
    """Where the file journal lives. Set by the local launcher only; without it the journal is the MSK cluster."""


def journal_of(settings: EngineSettings) -> EventLog:
    """Return a reader of the group's journal, wherever that is, which may become its writer."""
    if settings.state_dir is not None:
        return FileLog(_folder(settings.state_dir, settings.group), "commands", settings.group)
    return KafkaLog(KafkaCluster.of_msk(settings.journal_cluster_arn), "commands", settings.group)


def events_of(settings: EngineSettings) -> EventLog:
    """Return the same of the group's event log."""
    if settings.state_dir is not None:
        return FileLog(_folder(settings.state_dir, settings.group), "events", settings.group, derivable=True)
    cluster = KafkaCluster.of_msk(settings.journal_cluster_arn)
    return KafkaLog(cluster, "events", settings.group, derivable=True)


def _folder(state: Path, group: str) -> Path:
    return state / "journal" / group


async def serve(settings: EngineSettings, stopping: asyncio.Event) -> None:
    """Take part in the group until told to stop."""

    def catalogue() -> Catalogue:
        return read_catalogue_parameter(settings.catalogue_parameter)

    lease = Lease(DynamoLeaseStore(settings.lease_table, settings.group), new_member_name())
    logger.info("starts with the %s core", "compiled" if IS_COMPILED else "interpreted")
    group, s3 = settings.group, boto3.client("s3")
    snapshots = Snapshots(S3Store(settings.snapshot_bucket, s3), group)
    follower = Follower(group, journal_of(settings), events_of(settings), snapshots)
    archiver = Archiver(journal_of(settings), Archive(S3Store(settings.archive_bucket, s3), group))
    member = Member(follower, lease, catalogue)
    beside = [asyncio.create_task(look_at_the_young()), asyncio.create_task(keep_copying(archiver, stopping))]
    try:
        await member.run(settings.listen_host, settings.listen_port, stopping)
    finally:
        for task in beside:
            await end(task)


def main() -> None:
    """Start the service."""
    settings = read_settings(EngineSettings)
    log.configure(settings.service)
    shell.run(lambda stopping: serve(settings, stopping))


if __name__ == "__main__":
    main()
