"""An engine in a process of its own, for tests that kill it: `python -m … DIRECTORY PORT`."""

import asyncio
import sys
from pathlib import Path

from config.markets import CATALOGUE
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.server import Server
from runtime.shared import shell


async def serve(directory: Path, port: int, stopping: asyncio.Event) -> None:
    follower = Follower.of_files(directory, "main")
    follower.start()
    leader = Leader(follower)
    leader.take_over()
    leader.configure(CATALOGUE)
    server = Server(leader)
    await server.start("127.0.0.1", port)
    await server.run_until(stopping)
    await server.stop()
    leader.close()


if __name__ == "__main__":
    shell.run(lambda stopping: serve(Path(sys.argv[1]), int(sys.argv[2]), stopping))
