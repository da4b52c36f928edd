"""`python -m runtime.engine.main`: one process of a market group, leader or standby."""

import asyncio
import logging
from pathlib import Path

import boto3
from pydantic import Field

from runtime.engine import IS_COMPILED
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower
from runtime.engine.kafka_log import KafkaCluster, KafkaLog
from runtime.engine.lease import DynamoLeaseStore, Lease
from runtime.engine.member import Member, new_member_name
from runtime.engine.snapshots import S3Store, Snapshots
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
    lease_table: str = Field(min_length=1)
    state_dir: Path | None = None
    """Where the file journal lives. Set by the local launcher only; without it the journal is the MSK cluster."""


def follower_of(settings: EngineSettings) -> Follower:
    """Return a follower of the group's logs, wherever they are."""
    group = settings.group
    snapshots = Snapshots(S3Store(settings.snapshot_bucket, boto3.client("s3")), group)
    if settings.state_dir is not None:
        folder = settings.state_dir / "journal" / group
        journal = FileLog(folder, "commands", group)
        return Follower(group, journal, FileLog(folder, "events", group, derivable=True), snapshots)
    cluster = KafkaCluster.of_msk(settings.journal_cluster_arn)
    events = KafkaLog(cluster, "events", group, derivable=True)
    return Follower(group, KafkaLog(cluster, "commands", group), events, snapshots)


async def serve(settings: EngineSettings, stopping: asyncio.Event) -> None:
    """Take part in the group until told to stop."""

    def catalogue() -> Catalogue:
        return read_catalogue_parameter(settings.catalogue_parameter)

    lease = Lease(DynamoLeaseStore(settings.lease_table, settings.group), new_member_name())
    logger.info("starts with the %s core", "compiled" if IS_COMPILED else "interpreted")
    member = Member(follower_of(settings), lease, catalogue)
    looking = asyncio.create_task(look_at_the_young())
    try:
        await member.run(settings.listen_host, settings.listen_port, stopping)
    finally:
        await end(looking)


def main() -> None:
    """Start the service."""
    settings = read_settings(EngineSettings)
    log.configure(settings.service)
    shell.run(lambda stopping: serve(settings, stopping))


if __name__ == "__main__":
    main()
