"""One process of a market group through its life: it restores, stands by, leads when its turn comes, hands over.

All processes of a group are alike. Whoever holds the lease leads; the others follow the journal a few milliseconds
behind, take the snapshots, and are promoted when the lease is released or stands still.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from runtime.engine.event_log import LogInUseError
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.lease import RENEW_S, Lease, LeaseStoreError
from runtime.engine.server import Server
from runtime.engine.snapshots import Snapshot, Snapshots
from runtime.engine.tenure import Tenure
from runtime.shared.catalogue import Catalogue, CatalogueError

logger = logging.getLogger(__name__)
Outcome = TypeVar("Outcome")

FOLLOW_S: Final = 0.02
"""Pause of a standby between two looks at the journal."""
LEASE_LOOK_S: Final = 0.2
ACQUIRE_RETRY_S: Final = 0.05
SNAPSHOT_COMMANDS: Final = 200_000
SNAPSHOT_EVERY_S: Final = 900.0
"""A snapshot is due after so many commands, or so much time in which any command was applied."""
LEADER_PATIENCE: Final = 2
"""A leader takes a snapshot itself, which holds trading up, only when one is overdue by this factor: it is alone."""
LEADER_LOOK_S: Final = 5.0


def new_member_name() -> str:
    """Return a name for this life of this process."""
    return secrets.token_hex(8)


class SnapshotTimer:
    """Tells when the next snapshot is due."""

    def __init__(self, commands: int = SNAPSHOT_COMMANDS, every_s: float = SNAPSHOT_EVERY_S) -> None:
        """Make one due after `commands` or `every_s`, whichever comes first."""
        self._commands = commands
        self._every_s = every_s
        self._sequence = 0
        self._since = time.monotonic()

    def is_due(self, sequence: int, patience: int = 1) -> bool:
        """Tell whether a snapshot is due at `sequence`; `patience` multiplies both limits."""
        behind = sequence - self._sequence
        waited_s = time.monotonic() - self._since
        return behind >= self._commands * patience or (behind > 0 and waited_s >= self._every_s * patience)

    def taken(self, sequence: int) -> None:
        """Note that there is a snapshot of `sequence`."""
        if sequence > self._sequence:
            self._sequence = sequence
            self._since = time.monotonic()


class Member:
    """One engine process."""

    def __init__(
        self,
        follower: Follower,
        lease: Lease,
        catalogue: Callable[[], Catalogue],
        *,
        timer: SnapshotTimer | None = None,
        renew_s: float = RENEW_S,
    ) -> None:
        """Take part in the group of `follower` through `lease`; configure the group by `catalogue` when leading.

        It is read now, so that one that nobody can use shows at the start, and again whenever this process begins to
        lead: limits may have been moved since.
        """
        self._follower = follower
        self._lease = lease
        self._read_catalogue = catalogue
        self._catalogue = catalogue()
        self._timer = timer or SnapshotTimer()
        self._renew_s = renew_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="follow")
        self._saving: asyncio.Task[None] | None = None

    async def run(self, host: str, port: int, stopping: asyncio.Event) -> None:
        """Take part until `stopping` is set. Raises what makes this process unfit: LogError or LeaseLostError."""
        await self._call(self._follower.start)
        server = Server()
        leads = await self._try_acquire()
        if not leads:
            await server.start(host, port)  # only now: a port that answers means a replica that has caught up
            logger.info("stands by at %s:%d, at sequence %d", host, port, self._follower.replica.sequence)
            leads = await self._stand_by(stopping)
        if leads:
            await self._lead(server, host, port, stopping)
        else:
            await server.stop()
            await self._call(self._follower.close)
        if self._saving:
            await self._saving
        logger.info("stopped at sequence %d", self._follower.replica.sequence)

    async def _call(self, work: Callable[[], Outcome]) -> Outcome:
        """Run what blocks in the one thread that follows."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ---- standing by ---------------------------------------------------------------------------------------------

    async def _stand_by(self, stopping: asyncio.Event) -> bool:
        """Follow until this process may lead (True) or must stop (False)."""
        looked = 0.0
        while not stopping.is_set():
            await self._call(self._follower.catch_up)
            if time.monotonic() - looked >= LEASE_LOOK_S:
                looked = time.monotonic()
                if await self._try_acquire():
                    return True
            if self._timer.is_due(self._follower.replica.sequence) and not self._saving:
                self._save(await self._call(self._follower.snapshot))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), FOLLOW_S)
        return False

    async def _try_acquire(self) -> bool:
        try:
            return await self._call(self._lease.try_acquire)
        except LeaseStoreError as error:
            logger.warning("the lease cannot be read, this is tried again: %s", error)
            return False

    # ---- snapshots -----------------------------------------------------------------------------------------------

    def _save(self, taken: tuple[Snapshot, bytes] | None) -> None:
        """Store a snapshot in the background."""
        snapshots = self._follower.snapshots
        if taken is not None and snapshots is not None:
            self._saving = asyncio.create_task(self._store(snapshots, *taken))

    async def _store(self, snapshots: Snapshots, snapshot: Snapshot, state: bytes) -> None:
        try:
            await asyncio.to_thread(snapshots.save, snapshot, state)
        except (OSError, BotoCoreError, ClientError):
            logger.exception("snapshot %d was not stored; the next is due in time", snapshot.sequence)
        else:
            logger.info("snapshot %d stored: %d bytes, %s", snapshot.sequence, len(state), snapshot.state_hash)
        finally:
            self._timer.taken(snapshot.sequence)
            self._saving = None

    async def _watch_snapshots(self, server: Server) -> None:
        """Take a snapshot while leading, if no standby does."""
        snapshots = self._follower.snapshots
        while snapshots is not None:
            await asyncio.sleep(LEADER_LOOK_S)
            if self._saving or not self._timer.is_due(self._follower.replica.sequence, LEADER_PATIENCE):
                continue
            try:
                self._timer.taken(await asyncio.to_thread(snapshots.newest_sequence))
            except (OSError, BotoCoreError, ClientError) as error:
                logger.warning("the snapshots cannot be listed: %s", error)
                continue
            if self._timer.is_due(self._follower.replica.sequence, LEADER_PATIENCE):
                began = time.monotonic()
                taken = await server.between_batches(self._follower.snapshot)
                logger.info("took a snapshot while leading, which held trading up for %.3f s", time.monotonic() - began)
                self._save(taken)

    # ---- leading -------------------------------------------------------------------------------------------------

    async def _lead(self, server: Server, host: str, port: int, stopping: asyncio.Event) -> None:
        """Take over, serve until told to stop, and hand over: logs and lease first, so that nobody has to wait."""
        tenure = Tenure(self._lease, self._renew_s)
        leader = Leader(self._follower, self._lease.owner)
        watching: asyncio.Task[None] | None = None
        try:
            if not await self._take_over(leader, tenure, stopping):
                return
            leader.configure(await self._newest_catalogue())
            await tenure.confirm()
            server.lead(leader, tenure)
            if not server.is_listening:
                await server.start(host, port)
            logger.info("leads at %s:%d", host, port)
            watching = asyncio.create_task(self._watch_snapshots(server))
            await server.run_until(stopping)
        finally:
            if watching:
                watching.cancel()
            await server.drain()
            leader.close()
            await tenure.end()
            server.close()

    async def _newest_catalogue(self) -> Catalogue:
        """Return the catalogue as it is now, or, where it cannot be read, as it was last: trading comes first."""
        try:
            self._catalogue = await asyncio.to_thread(self._read_catalogue)
        except (BotoCoreError, ClientError, CatalogueError):
            logger.exception("leads by the catalogue of the start, as the newest cannot be read; limits may be older")
        return self._catalogue

    async def _take_over(self, leader: Leader, tenure: Tenure, stopping: asyncio.Event) -> bool:
        """Own the logs, waiting for a leader that lost its lease to let go of them. Return False when told to stop."""
        while not stopping.is_set():
            if tenure.renewing.done():
                tenure.renewing.result()
            try:
                await self._call(lambda: leader.take_over(self._lease.epoch))
            except LogInUseError as error:
                logger.debug("waits for the logs: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), ACQUIRE_RETRY_S)
            else:
                return True
        return False
