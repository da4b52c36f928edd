"""The lease in the hands of the leader: renewed in the background, asked before anything is acknowledged."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from runtime.engine.lease import RENEW_S, Lease, LeaseStoreError

logger = logging.getLogger(__name__)

RECHECK_S: Final = 0.02


class Tenure:
    """From taking the lease to giving it back."""

    def __init__(self, lease: Lease, renew_s: float = RENEW_S) -> None:
        """Hold `lease`, which was acquired just now; renew it every `renew_s`."""
        self._lease = lease
        self._renew_s = renew_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lease")
        self.renewing = asyncio.get_running_loop().create_task(self._renew_forever())
        """Ends only by an error: LeaseLostError once another process leads."""

    async def _renew_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                await loop.run_in_executor(self._thread, self._lease.renew)
            except LeaseStoreError as error:
                logger.warning("the lease was not renewed, this is tried again: %s", error)

    async def confirm(self) -> None:
        """Return as soon as it is certain that nobody else leads. Raises LeaseLostError.

        While the table does not answer, nothing can be certain, so the leader acknowledges nothing, and waits.
        """
        while not self._lease.is_valid:
            if self.renewing.done():
                self.renewing.result()
            await asyncio.sleep(RECHECK_S)

    async def end(self) -> None:
        """Stop renewing and give the lease back, if it is still ours."""
        self.renewing.cancel()
        await asyncio.wait((self.renewing,))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._lease.release)
        self._thread.shutdown()
