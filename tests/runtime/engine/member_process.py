"""An engine process for tests that kill it: `python -m … DIRECTORY PORT TABLE [EXPIRY_S]`, AWS from the environment."""

import asyncio
import sys
from pathlib import Path

from config.markets import CATALOGUE
from runtime.engine.follower import Follower
from runtime.engine.lease import DynamoLeaseStore, Lease
from runtime.engine.member import Member, SnapshotTimer, new_member_name
from runtime.engine.object_store import FolderStore
from runtime.engine.snapshots import Snapshots
from runtime.shared import log, shell


async def serve(directory: Path, port: int, table: str, expiry_s: float, stopping: asyncio.Event) -> None:
    follower = Follower.of_files(directory / "logs", "main", Snapshots(FolderStore(directory / "snapshots"), "main"))
    lease = Lease(DynamoLeaseStore(table, "main"), new_member_name(), expiry_s=expiry_s)
    member = Member(follower, lease, lambda: CATALOGUE, timer=SnapshotTimer(1_000, 5.0), renew_s=expiry_s / 6)
    await member.run("127.0.0.1", port, stopping)


if __name__ == "__main__":
    log.configure("engine")
    folder, listen, leases, expiry = sys.argv[1:]
    shell.run(lambda stopping: serve(Path(folder), int(listen), leases, float(expiry), stopping))
