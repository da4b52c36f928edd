"""The FIX acceptor: it reads one message of each connection, answers a Logon by a Logout that says why, and closes."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from runtime.fix.codec import FixError, decode
from runtime.fix.session import answer
from runtime.shared import log, shell
from runtime.shared.settings import ServiceSettings, read_settings

logger = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 256
LOGON_TIMEOUT_S: Final = 10.0
"""From the connection to its whole first message."""
CLOSE_TIMEOUT_S: Final = 5.0
_CHUNK: Final = 4096


class Acceptor:
    """Serves connections one message each, a bounded number at a time."""

    def __init__(self, *, logon_timeout_s: float = LOGON_TIMEOUT_S, connections_max: int = CONNECTIONS_MAX) -> None:
        """Serve nobody yet."""
        self._logon_timeout_s = logon_timeout_s
        self._connections_max = connections_max
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whatever goes wrong closes it with its reason in the log."""
        if self._open >= self._connections_max:
            logger.warning("connection refused", extra={"reason": f"{self._connections_max} are open"})
            writer.close()
            return
        self._open += 1
        try:
            async with asyncio.timeout(self._logon_timeout_s):
                reply = await _reply(reader)
            if reply:
                writer.write(reply)
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await writer.drain()
                logger.info("logon answered by logout")
        except FixError as error:
            logger.warning("connection closed", extra={"reason": str(error)})
        except TimeoutError:
            logger.warning("connection closed", extra={"reason": f"no Logon within {self._logon_timeout_s} seconds"})
        except OSError as error:
            logger.info("connection lost", extra={"reason": str(error)})
        finally:
            self._open -= 1
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """Return the answer to the first message; nothing to one who leaves without a word, as a health check does."""
    data = b""
    while chunk := await reader.read(_CHUNK):
        data += chunk
        if (fields := decode(data)) is not None:
            return answer(fields, datetime.now(UTC))
    if data:
        raise FixError("the connection ended within its first message")
    return b""


async def main(stopping: asyncio.Event) -> None:
    """Listen until told to stop."""
    settings = read_settings(ServiceSettings)
    log.configure(settings.service)
    server = await asyncio.start_server(Acceptor().serve, settings.listen_host, settings.listen_port)
    async with server:
        logger.info("listening", extra={"port": settings.listen_port})
        await stopping.wait()


if __name__ == "__main__":
    shell.run(main)
