"""`make replay FEED=path SYMBOL=BTCUSDT`: play a recorded feed through the running exchange and judge the outcome."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from config.markets import CATALOGUE
from local import control
from local.console import ERR, OUT, table
from local.demo import Keys, kept_keys
from local.paths import Layout
from local.replay.feed import FeedError, read_feed
from local.replay.player import Player, Report, cancel_all
from runtime.market_maker.client import Key, RefusedError, Session, UnavailableError
from runtime.shared.catalogue import Market
from runtime.shared.engine_link import EngineError, EngineLink
from runtime.shared.messages import AskTotals, Totals

TRACKING_WANTED: Final = 0.99
PAUSE_SETTLES_S: Final = 3.0
"""The maker looks for its pause file several times a second."""
IN_FLIGHT_MAX: Final = 512
MAKER_ACCOUNT: Final = "replay-1"
TAKER_ACCOUNT: Final = "replay-2"
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2

EXPLANATIONS: Final = {
    "Filter failure: NOTIONAL": "the recorded quantity is worth less than our least order",
    "Order would immediately match and take.": "another order stood where the recorded book had none",
    "Filter failure: PERCENT_PRICE_BY_SIDE": "the recorded level is outside our price band",
    "Filter failure: LOT_SIZE": "the recorded quantity is less than one of our lots",
}


def main() -> int:
    """Return 0 when nothing failed inside, balances are conserved and our book followed; 1 if not; 2 if unusable."""
    parser = argparse.ArgumentParser(prog="make replay", description=__doc__)
    parser.add_argument("--feed", required=True, type=Path, help="gzip of `<local ns> <combined stream JSON>` lines")
    parser.add_argument("--symbol", default="BTCUSDT", help="market to play it in (default BTCUSDT)")
    parser.add_argument("--keep", action="store_true", help="leave the replayed book standing at the end")
    arguments = parser.parse_args()
    market = CATALOGUE.market_by_symbol.get(arguments.symbol)
    if market is None:
        return _unusable(f"unknown symbol {arguments.symbol}; known: {', '.join(CATALOGUE.market_by_symbol)}")
    try:
        return asyncio.run(replay(Layout.from_environment(), arguments.feed, market, keep=arguments.keep))
    except (FeedError, UnavailableError, RefusedError, EngineError) as error:
        return _unusable(str(error))
    except KeyboardInterrupt:
        return _unusable("stopped; orders of the replay accounts are left standing")


def _unusable(message: str) -> int:
    ERR.print(message, markup=False)
    return EXIT_UNUSABLE


async def replay(layout: Layout, feed: Path, market: Market, *, keep: bool) -> int:
    """Play `feed`; print what happened; return the exit code."""
    status = control.read_status(layout)
    if status is None or not control.is_running(layout) or "ws_api_url" not in status.urls:
        return _unusable("no exchange is running here; `make up DETACH=1` starts one")
    lines = sum(1 for _ in read_feed(feed, market.symbol))
    engine = EngineLink(",".join(each.address for each in status.processes if each.name.startswith("engine")))
    await engine.start()
    with _maker_paused(layout.run / "pause", market.symbol):
        before = await _totals(engine)
        keys = kept_keys(layout.state / "clients.json")
        maker, taker = _session(keys[MAKER_ACCOUNT]), _session(keys[TAKER_ACCOUNT])
        try:
            await maker.open(status.urls["ws_api_url"])
            await taker.open(status.urls["ws_api_url"])
            await asyncio.sleep(PAUSE_SETTLES_S)
            stale = await cancel_all(maker, market.symbol)
            if stale:
                OUT.print(f"canceled {stale} orders of an earlier replay")
            run = f"{time.time_ns() // 1_000_000_000:x}"
            player = Player(maker, taker, market, CATALOGUE.asset(market.base), run)
            report = await _play(player, feed, market, lines)
            if not keep:
                OUT.print(f"canceled the {await cancel_all(maker, market.symbol)} orders that still stood")
        finally:
            maker.close()
            taker.close()
        after = await _totals(engine)
    await engine.stop()
    return _judge(report, before, after)


def _session(keys: Keys) -> Session:
    key = Key(keys.ed25519_api_key, keys.ed25519_private_key_pem)
    return Session(key, None, in_flight_max=IN_FLIGHT_MAX)


async def _totals(engine: EngineLink) -> Totals:
    answer = (await engine.ask(AskTotals())).answer
    assert isinstance(answer, Totals)
    return answer


@contextmanager
def _maker_paused(folder: Path, symbol: str) -> Iterator[None]:
    """Ask the market maker to stay away from `symbol` while this process lives."""
    folder.mkdir(exist_ok=True)
    file = folder / symbol
    file.write_text(str(os.getpid()))
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            file.unlink()


async def _play(player: Player, feed: Path, market: Market, lines: int) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=OUT, disable=not OUT.is_terminal) as bar:
        task = bar.add_task(f"replay {market.symbol}", total=lines)
        told = time.monotonic()

        def progress(report: Report) -> None:
            nonlocal told
            text = f"{report.requests} requests, {report.requests / max(report.seconds, 1e-9):.0f}/s"
            bar.update(task, completed=report.records, description=text)
            if not OUT.is_terminal and time.monotonic() - told > PAUSE_SETTLES_S:
                told = time.monotonic()
                OUT.print(f"{report.records} of {lines} records: {text}, tracking {report.tracking:.2%}")

        return await player.play(read_feed(feed, market.symbol), progress)


def _judge(report: Report, before: Totals, after: Totals) -> int:
    unbalanced = [row for row in after.rows if sum(row[1:])]
    moved = [row[0] for row, old in zip(after.rows, before.rows, strict=True) if row[3] != old[3]]
    seconds = max(report.seconds, 1e-9)
    table(
        "Replay",
        ("what", "count"),
        [
            ("records played", str(report.records)),
            ("depth updates", str(report.diffs)),
            ("orders placed to rest", str(report.placed)),
            ("orders canceled", str(report.canceled)),
            ("immediate orders", str(report.immediate)),
            ("fills", str(report.fills)),
            ("cancels of orders already filled", str(report.already_gone)),
            ("requests per second", f"{report.requests / seconds:.0f} in {seconds:.1f} s"),
            ("rejects", str(sum(report.rejects.values()))),
            ("internal errors", str(report.internal_errors)),
            ("best prices equal after a depth update", f"{report.tracked} of {report.compared}, {report.tracking:.2%}"),
        ],
    )
    if report.rejects:
        rows = [
            (kind, str(code), text, str(count), EXPLANATIONS.get(text, ""))
            for (kind, code, text), count in report.rejects.most_common()
        ]
        table("Rejects", ("order", "code", "text", "count", "because"), rows)
    for miss in report.misses:
        OUT.print(f"not followed: {miss}")
    assets = CATALOGUE.asset_by_id
    table(
        "Balances, in smallest units",
        ("asset", "users", "house", "outside", "sum"),
        [(assets[row[0]].name, str(row[1]), str(row[2]), str(row[3]), str(sum(row[1:]))) for row in after.rows],
    )
    problems = []
    if report.internal_errors:
        problems.append(f"{report.internal_errors} internal errors")
    if unbalanced or moved:
        problems.append("balances are not conserved")
    if report.tracking < TRACKING_WANTED:
        problems.append(f"our book followed {report.tracking:.2%} of the updates, {TRACKING_WANTED:.0%} are wanted")
    OUT.print("; ".join(problems) or "conserved, no internal error, followed")
    return EXIT_FAILED if problems else 0


if __name__ == "__main__":
    sys.exit(main())
