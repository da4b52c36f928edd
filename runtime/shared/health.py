"""`python -m runtime.shared.health HOST PORT`: exit with 0 when a service answers there, for container health checks.

Services that speak first (the engine's Welcome needs a Hello) only have to accept the connection.
"""

import socket
import sys
from typing import Final

TIMEOUT_S: Final = 3.0
_ARGUMENTS: Final = 3


def main(arguments: list[str]) -> int:
    """Return 0 when the port accepts a connection, 1 when not, 2 for a wrong call."""
    if len(arguments) != _ARGUMENTS or not arguments[2].isdigit():
        sys.stderr.write("usage: python -m runtime.shared.health HOST PORT\n")
        return 2
    host, port = arguments[1], int(arguments[2])
    try:
        socket.create_connection((host, port), TIMEOUT_S).close()
    except OSError as error:
        sys.stderr.write(f"{host}:{port}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
