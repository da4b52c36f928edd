"""A sample market maker: an ordinary client of the public API that keeps two-sided quotes in every symbol.

It quotes around a price that wanders at random (seeded, from the last trade or the configured start), or around the mid
of a recorded feed. It leans against its own inventory, within bounds. So that there are trades and candles, a second
account, the taker, matches a small order now and then: that flow is made up, and says nothing about a market.

Orders of both accounts are cancelled at the start and at the end. While the file $MAKER_PAUSE_DIR/SYMBOL holds the id
of a living process, the maker and the taker stay away from that symbol.

environment:
  REST_URL, WS_API_URL, STREAM_URL   where the exchange is: http://host:port, ws://host:port/ws-api/v3, ws://host:port
  MAKER_KEYS_FILE                    JSON {"maker": {"api_key", "secret_key"}, "taker": {...}}; a secret_key is an HMAC
                                     secret or the PEM of an Ed25519 private key
  MAKER_SEED                         default 1: the same seed wanders the same way
  MAKER_REFRESH_MS                   default 500: how often each symbol is quoted anew
  MAKER_LEVELS                       default 10: quotes on each side
  MAKER_START_PRICES                 JSON {"BTCUSDT": "60000", ...}: where a symbol that never traded begins
  MAKER_PAUSE_DIR                    folder of pause files; none without it
"""

import argparse
import asyncio
from pathlib import Path

from runtime.market_maker.client import BadKeyError
from runtime.market_maker.maker import Maker
from runtime.market_maker.recording import Recording, RecordingError
from runtime.market_maker.settings import MakerSettings, read_keys
from runtime.shared import log, shell
from runtime.shared.settings import read_settings, refuse_to_start


def main() -> None:
    """Read arguments and environment, then quote until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.market_maker.main",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--feed",
        type=Path,
        metavar="FILE",
        help="quote around the mid of this recorded combined stream (gzip; a line is local nanoseconds, a space, JSON)"
        " instead of a random walk, in the symbols it holds; when it is over, prices wander on from there",
    )
    arguments = parser.parse_args()
    settings = read_settings(MakerSettings)
    log.configure("market_maker")
    try:
        keys = read_keys(settings.maker_keys_file)
        recording = Recording(arguments.feed) if arguments.feed else None
    except (BadKeyError, RecordingError, OSError) as error:
        refuse_to_start(str(error))

    async def quote(stopping: asyncio.Event) -> None:
        await Maker(settings, keys, recording).run(stopping)

    shell.run(quote)


if __name__ == "__main__":
    main()
