"""`python -m runtime.engine.main`: lead one market group."""

import asyncio
import logging
from pathlib import Path

from pydantic import Field

from runtime.engine import IS_COMPILED
from runtime.engine.leader import Leader
from runtime.engine.server import Server
from runtime.shared import log, shell
from runtime.shared.settings import ServiceSettings, read_catalogue_parameter, read_settings, refuse_to_start

logger = logging.getLogger(__name__)


class EngineSettings(ServiceSettings):
    """Environment of the engine."""

    group: str = Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")
    journal_cluster_arn: str = Field(min_length=1)
    snapshot_bucket: str = Field(min_length=1)
    state_dir: Path | None = None
    """Where the file journal lives. Set by the local launcher only; without it the journal is the MSK cluster."""


async def serve(settings: EngineSettings, state_dir: Path, stopping: asyncio.Event) -> None:
    """Take over the group and lead it until told to stop."""
    catalogue = read_catalogue_parameter(settings.catalogue_parameter)
    leader = Leader(state_dir / "journal" / settings.group, settings.group)
    try:
        await asyncio.to_thread(leader.take_over)
        leader.configure(catalogue)
        server = Server(leader)
        await server.start(settings.listen_host, settings.listen_port)
        core = "compiled" if IS_COMPILED else "interpreted"
        logger.info("listening on %s:%d with the %s core", settings.listen_host, settings.listen_port, core)
        try:
            await server.run_until(stopping)
        finally:
            await server.stop()
    finally:
        leader.close()
    logger.info("stopped at sequence %d", leader.replica.sequence)


def main() -> None:
    """Start the service."""
    settings = read_settings(EngineSettings)
    log.configure(settings.service)
    state_dir = settings.state_dir
    if state_dir is None:
        refuse_to_start(
            "the Kafka driver of the journal is not built yet: this engine runs only where STATE_DIR names a folder "
            f"for the file journal (cluster {settings.journal_cluster_arn} is not used)"
        )
    shell.run(lambda stopping: serve(settings, state_dir, stopping))


if __name__ == "__main__":
    main()
