"""Runs one engine over a workload file and prints what it took as JSON: `python -m bench.books ENGINE FILE LINES`.

ENGINE is `ours`, or a library of requirements-bench.txt, which has an environment of its own. Every engine gets the
operations as a list in memory, in its own types, one call an operation. Reported: CPU seconds, trades, traded volume.
"""

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

Line = tuple[str, int, int, int, int]
Run = tuple[float, int, int]
"""CPU seconds, number of trades, lots traded."""
REPEATS: Final = 3


def read_lines(path: Path, count: int) -> list[Line]:
    """Read the first `count` operations: A or C, order id, side, price, lots."""
    lines: list[Line] = []
    for text in path.read_text().splitlines()[:count]:
        kind, *numbers = text.split(",")
        order_id, side, price, lots = map(int, numbers)
        lines.append((kind, order_id, side, price, lots))
    return lines


def ours(lines: list[Line]) -> Run:
    """Run the engine's own book."""
    from runtime.engine.book import OrderBook  # noqa: PLC0415 - not installed beside the rivals
    from runtime.shared.messages import GTC, LIMIT, STP_NONE, PlaceOrder  # noqa: PLC0415

    work = [
        (order_id, PlaceOrder(0, 0, side, LIMIT, GTC, price, lots, 0, "", STP_NONE) if kind == "A" else None)
        for kind, order_id, side, price, lots in lines
    ]
    book = OrderBook()
    add, remove, orders = book.add, book.remove, book.orders
    tape: list[tuple[int, int, int, int]] = []
    started = time.process_time()
    for order_id, command in work:
        if command is None:
            remove(orders[order_id])
            continue
        for maker, filled in add(order_id, command, 0).fills:
            tape.append((maker.order_id, order_id, maker.price, filled))
    spent = time.process_time() - started
    return spent, len(tape), sum(lots for _, _, _, lots in tape)


def lightmatchingengine(lines: list[Line]) -> Run:
    """Run lightmatchingengine, which reports each trade once for either side."""
    library = importlib.import_module("lightmatchingengine.lightmatchingengine")
    engine = library.LightMatchingEngine()
    ids: dict[int, int] = {}
    trades = lots_traded = 0
    started = time.process_time()
    for kind, order_id, side, price, lots in lines:
        if kind == "C":
            engine.cancel_order(ids[order_id], "X")
            continue
        order, made = engine.add_order("X", price, lots, side + 1)
        ids[order_id] = order.order_id
        for trade in made:
            if trade.order_id == order.order_id:
                continue
            trades += 1
            lots_traded += trade.trade_qty
    return time.process_time() - started, trades, lots_traded


def pyorderbook(lines: list[Line]) -> Run:
    """Run pyorderbook."""
    library: Any = importlib.import_module("pyorderbook.order")
    book = importlib.import_module("pyorderbook.book").Book()
    sides = (library.Side.BID, library.Side.ASK)
    orders: dict[int, Any] = {}
    trades = lots_traded = 0
    started = time.process_time()
    for kind, order_id, side, price, lots in lines:
        if kind == "C":
            book.cancel(orders[order_id])
            continue
        order = orders[order_id] = library.Order(sides[side], "X", price, lots)
        for trade in book.match(order).trades:
            trades += 1
            lots_traded += trade.fill_quantity
    return time.process_time() - started, trades, lots_traded


def order_matching(lines: list[Line]) -> Run:
    """Run order-matching. It matches when asked to, so it is asked after every order."""
    library: Any = importlib.import_module("order_matching.order")
    importlib.import_module("loguru").logger.remove()  # it logs every operation
    sides = importlib.import_module("order_matching.enums").Side
    orders_of = importlib.import_module("order_matching.orders").Orders
    engine = importlib.import_module("order_matching.matching_engine").MatchingEngine(seed=1)
    side_of = (sides.BUY, sides.SELL)
    now = datetime(2026, 1, 1)  # noqa: DTZ001 - the library takes no zone
    trades = lots_traded = 0
    started = time.process_time()
    for kind, order_id, side, price, lots in lines:
        now += timedelta(microseconds=1)
        if kind == "C":
            engine.cancel_order(str(order_id))
            continue
        order = library.LimitOrder(
            side=side_of[side], price=price, size=lots, timestamp=now, order_id=str(order_id), trader_id="x"
        )
        engine.place(orders_of([order]))
        for trade in engine.match(timestamp=now).trades:
            trades += 1
            lots_traded += int(trade.size)
    return time.process_time() - started, trades, lots_traded


ENGINES: Final[dict[str, Callable[[list[Line]], Run]]] = {
    each.__name__: each for each in (ours, lightmatchingengine, pyorderbook, order_matching)
}


def main() -> None:
    """Run and report the best of REPEATS."""
    name, path, count = sys.argv[1:4]
    lines = read_lines(Path(path), int(count))
    gc.disable()
    gc.freeze()
    runs = [ENGINES[name](lines) for _ in range(REPEATS)]
    spent, trades, lots_traded = min(runs)
    sys.stdout.write(json.dumps({"cpu_s": spent, "trades": trades, "lots": lots_traded, "operations": len(lines)}))


if __name__ == "__main__":
    main()
