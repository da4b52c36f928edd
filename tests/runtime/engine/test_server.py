"""Links and feeds over TCP: exactly once through `kill -9`, in order, bounded, and polite to bad peers."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from config.markets import CATALOGUE
from local.stand_ins import free_port
from runtime.engine import server as server_module
from runtime.engine.audit import ConservationError
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower, now_us
from runtime.engine.leader import Leader, Sealed
from runtime.engine.lease import Held, Lease, LeaseLostError, MemoryLeaseStore
from runtime.engine.server import Server
from runtime.engine.tenure import Tenure
from runtime.shared import engine_link
from runtime.shared import messages as m
from runtime.shared.engine_link import EngineBusyError, EngineLink, EngineUnavailableError, follow_feed
from runtime.shared.frames import frame, read_frame
from tests.runtime.market_data.wire import until

STANDING_MAX = 400
"""Open orders that one lane of `run_kills` leaves standing."""


@contextlib.asynccontextmanager
async def serving(directory: Path, clock: Callable[[], int] = now_us) -> AsyncIterator[tuple[str, Server]]:
    follower = Follower.of_files(directory, "main", clock=clock)
    follower.start()
    leader = Leader(follower)
    leader.take_over()
    leader.configure(CATALOGUE)
    server = Server(leader)
    port = free_port()
    await server.start("127.0.0.1", port)
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        await server.stop()
        leader.close()


async def linked(address: str) -> EngineLink:
    link = EngineLink(address)
    await link.start()
    await link.wait_connected(10)
    return link


async def funded(link: EngineLink, name: str) -> int:
    opened = (await link.send(m.OpenAccount(name, 3))).reply
    assert isinstance(opened, m.AccountOpened)
    for asset in CATALOGUE.assets:
        await link.send(m.Deposit(opened.account, asset.id, 10**16, f"{name}-{asset.name}"))
    return opened.account


def bid(account: int, number: int, price: int = 5_000_000) -> m.PlaceOrder:
    return m.PlaceOrder(account, 1, m.BUY, m.LIMIT, m.GTC, price + number % 50, 1_000, 0, f"bid{number}", 0)


def test_a_leader_that_has_lost_its_lease_ends_though_nobody_sends_anything(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MemoryLeaseStore()
        lease = Lease(store, "first")
        leader = Leader(Follower.of_files(tmp_path, "main"), lease.owner)
        assert lease.try_acquire()
        leader.take_over(lease.epoch)
        tenure = Tenure(lease, 0.05)
        server = Server()
        server.lead(leader, tenure)
        serving = asyncio.create_task(server.run_until(asyncio.Event()))
        await asyncio.sleep(0.2)
        assert not serving.done(), "it leads for as long as it renews"
        while not store.swap(store.read(), Held("second", lease.epoch + 1, 0)):
            pass
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(serving, 10)
        await server.stop()
        leader.close()
        await tenure.end()

    asyncio.run(scenario())


def test_commands_questions_and_the_feed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            placed = await link.send(bid(account, 1))
            assert isinstance(placed.reply, m.OrderPlaced)
            answer = (await link.ask(m.AskOpenOrders(account, -1))).answer
            assert answer == m.OpenOrders([placed.reply.order])
            totals = (await link.ask(m.AskTotals())).answer
            assert isinstance(totals, m.Totals)
            assert all(users + house + outside == 0 for _, users, house, outside in totals.rows)
            seen: list[m.Happened] = []
            async for batch in follow_feed(address, 0):
                seen += batch
                if seen[-1].sequence == placed.sequence:
                    break
            assert [happened.sequence for happened in seen] == list(range(1, placed.sequence + 1))
            replies = await asyncio.gather(*(link.send(bid(account, n)) for n in range(2, 302)))
            assert [reply.n for reply in replies] == sorted(reply.n for reply in replies)
            assert server.leader.replica.sequence == placed.sequence + 300
            await link.stop()

    asyncio.run(scenario())


def test_a_batch_is_written_while_the_one_before_it_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            leader = server.leader
            write, begun, meanwhile = leader.make_durable, [], []

            def slowly(sealed: Sealed) -> None:
                begun.append(leader.replica.sequence + 1 < sealed.first)
                time.sleep(0.05)
                write(sealed)
                meanwhile.append(begun[-1] and leader.replica.sequence + 1 == sealed.first)

            monkeypatch.setattr(leader, "make_durable", slowly)
            sent = asyncio.gather(*(link.send(bid(account, n)) for n in range(3_500)))
            await until(lambda: bool(begun), 10)
            next_sequence, applied, waiting = await server.between_batches(
                lambda: (leader.journal.chain.next_sequence, leader.replica.sequence, server._waiting)
            )
            assert next_sequence == applied + 1, "nothing is on its way between batches"
            assert waiting, "what comes between batches does not wait for a quiet moment"
            replies = await sent
            assert [reply.n for reply in replies] == list(range(replies[0].n, replies[0].n + 3_500))
            assert any(meanwhile), "no batch was applied while the next one was written"
            await link.stop()

    asyncio.run(scenario())


def test_batches_that_cut_through_what_came_together_answer_each_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BATCH_MAX", 7)
    monkeypatch.setattr(engine_link, "BATCH_MAX", 10)

    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            links = [await linked(address), await linked(address)]
            accounts = [await funded(link, name) for link, name in zip(links, ("alice", "bob"), strict=True)]
            sends = [
                asyncio.gather(*(link.send(bid(account, n)) for n in range(100)))
                for link, account in zip(links, accounts, strict=True)
            ]
            for account, replies in zip(accounts, await asyncio.gather(*sends), strict=True):
                assert [reply.n for reply in replies] == list(range(replies[0].n, replies[0].n + 100))
                placed = [reply.reply for reply in replies]
                assert all(isinstance(each, m.OrderPlaced) and each.order.account == account for each in placed)
            assert server._waiting == 0
            journal = FileLog(tmp_path, "commands", "main")
            assert max(batch.count for batch in journal.read()) == 7
            for link in links:
                await link.stop()

    asyncio.run(scenario())


def test_an_auction_ends_in_time_though_nobody_sends_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BEAT_S", 0.02)
    late_us = 0

    async def scenario() -> None:
        nonlocal late_us
        async with serving(tmp_path, lambda: now_us() + late_us) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            other = await funded(link, "bob")
            await link.send(m.SetMarketStatus(1, m.AUCTION))
            ask = m.PlaceOrder(other, 1, m.SELL, m.LIMIT, m.GTC, 5_000_000, 1_000, 0, "ask", 0)
            await link.send(ask)
            last = await link.send(bid(account, 1))
            market = server.leader.replica.engine.markets[1]
            await asyncio.sleep(0.2)
            assert server.leader.replica.sequence == last.sequence, "nothing is sequenced before its time"
            late_us = market.spec.auction_us
            feed = follow_feed(address, last.sequence + 1)
            (happened,) = await asyncio.wait_for(anext(feed), 10)
            assert [type(event) for event in happened.events].count(m.Traded) == 1
            assert market.status == m.TRADING
            await asyncio.sleep(0.2)
            assert server.leader.replica.sequence == last.sequence + 1, "once is enough"
            await link.stop()

    asyncio.run(scenario())


def test_a_leader_whose_sums_are_wrong_ends_before_it_keeps_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            assert await server.between_batches(server.leader.snapshot)
            serving_on = asyncio.create_task(server.run_until(asyncio.Event()))
            server.leader.replica.engine.accounts.accounts[account].holding(1).free += 1
            with pytest.raises(ConservationError, match="asset 1 sums to 1, not to 0"):
                await server.between_batches(server.leader.snapshot)
            with pytest.raises(ConservationError):
                await asyncio.wait_for(serving_on, 10)
            await link.stop()

    asyncio.run(scenario())


def test_a_follower_catches_up_from_the_log_then_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.engine.follower.RECENT_BYTES_MAX", 2_000)
    monkeypatch.setattr("runtime.engine.leader.CATCH_UP_BYTES", 3_000)

    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            for n in range(100):
                await link.send(bid(account, n))
            later = asyncio.create_task(_later(link, account))
            last = server.leader.replica.sequence + 30
            seen: list[int] = []
            async for batch in follow_feed(address, 1):
                seen += [happened.sequence for happened in batch]
                if len(seen) >= last:
                    break
            assert seen == list(range(1, last + 1))
            await later
            assert server.leader.replica.sequence == last
            await link.stop()

    async def _later(link: EngineLink, account: int) -> None:
        for n in range(100, 130):
            await link.send(bid(account, n))

    asyncio.run(scenario())


def test_bad_peers_are_told_and_cut(tmp_path: Path) -> None:
    async def refusal(address: str, *payloads: bytes) -> str:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for payload in payloads:
            writer.write(payload)
        reason = ""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                for message in m.decode_from_engine(await asyncio.wait_for(read_frame(reader), 5)):
                    if isinstance(message, m.Refused):
                        reason = message.reason
        writer.close()
        return reason

    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            hello = frame(m.encode(m.Hello(m.COMMANDS, "s")))
            assert "protocol error" in await refusal(address, frame(b"\xc1 not msgpack"))
            assert "at most" in await refusal(address, b"\xff\xff\xff\xff")
            assert "session" in await refusal(address, frame(m.encode(m.Hello(m.COMMANDS, ""))))
            assert "kind" in await refusal(address, frame(m.encode(m.Hello(7, "s"))))
            assert "protocol error" in await refusal(address, hello, frame(m.encode([[9, 9]])))
            link = await linked(address)
            assert await funded(link, "alice") == m.FIRST_USER_ACCOUNT
            assert server.leader.replica.sequence == 2 + len(CATALOGUE.assets)
            await link.stop()

    asyncio.run(scenario())


def test_a_gap_or_an_overlong_text_is_refused_before_the_journal(tmp_path: Path) -> None:
    async def told(address: str, send: m.Send) -> str:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(frame(m.encode(m.Hello(m.COMMANDS, "s"))) + frame(m.encode([send])))
        messages: list[m.FromEngine] = []
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                messages += m.decode_from_engine(await asyncio.wait_for(read_frame(reader), 5))
        writer.close()
        return next(message.reason for message in messages if isinstance(message, m.Refused))

    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            before = server.leader.replica.sequence
            assert (await told(address, m.Send(7, 6, m.CancelAll(1, 1)))).startswith(m.UNKNOWN_SESSION)
            assert "expected 1" in await told(address, m.Send(1, 1, m.CancelAll(1, 1)))
            assert "length <= 256" in await told(address, m.Send(1, 0, m.OpenAccount("x" * 257, 1)))
            named = msgspec.structs.replace(bid(1, 1), client_order_id="x" * 257)
            within = m.PlaceList(1, 1, m.OTO, "both", [bid(1, 1), named])
            assert "length <= 256" in await told(address, m.Send(1, 0, within))
            assert server.leader.replica.sequence == before

    asyncio.run(scenario())


def test_a_client_that_the_engine_forgot_goes_on_as_a_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (address, server):
            link = await linked(address)
            account = await funded(link, "alice")
            server.leader.replica.sessions.clear()  # as if a thousand others had come since
            server._submitted.clear()
            with pytest.raises(EngineUnavailableError, match="no longer knows"):
                await link.send(bid(account, 1))
            await link.wait_connected(5)
            assert isinstance((await link.send(bid(account, 2))).reply, m.OrderPlaced)
            await link.stop()

    asyncio.run(scenario())


def test_what_cannot_be_encoded_harms_only_its_sender(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (address, _):
            link = await linked(address)
            account = await funded(link, "alice")
            with pytest.raises(OverflowError):
                await link.send(m.Deposit(account, 1, 2**70, "r"))
            assert isinstance((await link.send(bid(account, 1))).reply, m.OrderPlaced)
            await link.stop()

    asyncio.run(scenario())


def test_a_silent_engine_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.shared.engine_link.SILENCE_S", 0.2)

    async def scenario() -> None:
        greeted = 0

        async def greet_and_say_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal greeted
            await read_frame(reader)
            greeted += 1
            writer.write(frame(m.encode([m.Welcome("main", 1, 0)])))
            await reader.read()

        silent = await asyncio.start_server(greet_and_say_no_more, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        link = await linked(f"127.0.0.1:{port}")
        async with asyncio.timeout(60):
            while greeted < 3:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
        await link.stop()
        silent.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("ending", "told"), [([m.Refused("no events are kept")], "no events are kept"), ("what", "Expected `array`")]
)
def test_a_feed_tells_why_it_ended_and_is_followed_again(
    ending: object, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        greeted = 0

        async def feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal greeted
            await read_frame(reader)
            greeted += 1
            writer.write(frame(m.encode([m.Welcome("main", 1, 0)])))
            writer.write(frame(m.encode(ending if greeted == 1 else [m.Happened(1, 1, [])])))
            await reader.read()
            writer.close()

        engine = await asyncio.start_server(feed, "127.0.0.1", 0)
        port = engine.sockets[0].getsockname()[1]
        async with contextlib.aclosing(follow_feed(f"127.0.0.1:{port}", 1)) as following:
            async with asyncio.timeout(60):
                assert [each.sequence for each in await anext(following)] == [1]
        assert greeted == 2
        engine.close()

    asyncio.run(scenario())
    assert told in caplog.text


def test_no_engine_is_an_error_in_time_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.shared.engine_link.IN_FLIGHT_MAX", 3)

    async def scenario() -> None:
        link = EngineLink(f"127.0.0.1:{free_port()}")
        await link.start()
        with pytest.raises(EngineUnavailableError, match="in time"):
            await link.send(m.CancelAll(1, 1), timeout_s=0.05)
        for _ in range(2):
            with pytest.raises(EngineUnavailableError):
                await link.send(m.CancelAll(1, 1), timeout_s=0.01)
        with pytest.raises(EngineBusyError, match="at most 3"):
            await link.send(m.CancelAll(1, 1))
        await link.stop()

    asyncio.run(scenario())


async def _start(directory: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it may block this test
        [sys.executable, "-m", "tests.runtime.engine.engine_process", str(directory), str(port)]
    )
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return process
        await asyncio.sleep(0.05)
    raise AssertionError("the engine did not start")


def test_kill_9_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    run_kills(tmp_path, seed=11, kills=3)


def run_kills(tmp_path: Path, seed: int, kills: int) -> None:
    """Trade on eight lanes while the engine is killed; then hold its book against what was acknowledged."""

    async def scenario() -> None:
        port = free_port()
        draw = random.Random(seed)
        processes = [await _start(tmp_path, port)]
        cleanup.callback(lambda: [process.kill() for process in processes])
        link = await linked(f"127.0.0.1:{port}")
        account = await funded(link, "alice")
        acknowledged: dict[str, int] = {}
        feed: list[int] = []

        async def follow() -> None:
            async for batch in follow_feed(f"127.0.0.1:{port}", 1):
                feed.extend(happened.sequence for happened in batch)

        async def trade(lane: int) -> None:
            standing: list[m.Order] = []
            for n in range(100_000):
                if stopping.is_set():
                    return
                reply = (await link.send(bid(account, lane * 1_000_000 + n), timeout_s=30)).reply
                assert isinstance(reply, m.OrderPlaced), reply
                acknowledged[reply.order.client_order_id] = reply.order.order_id
                standing.append(reply.order)
                if n % 20 == 19 or len(standing) > STANDING_MAX:  # an account may have so many orders and no more
                    order = standing.pop(0)
                    canceled = (await link.send(m.CancelOrder(account, 1, order.order_id, "", "x"), 30)).reply
                    assert isinstance(canceled, m.OrdersCanceled), canceled
                    del acknowledged[order.client_order_id]

        stopping = asyncio.Event()
        following = asyncio.create_task(follow())
        lanes = [asyncio.create_task(trade(lane)) for lane in range(8)]
        for _ in range(kills):
            await asyncio.sleep(draw.uniform(0.2, 0.5))
            processes[-1].send_signal(signal.SIGKILL)
            processes[-1].wait()
            processes.append(await _start(tmp_path, port))
        await asyncio.sleep(0.3)
        stopping.set()
        await asyncio.gather(*lanes)
        answer = await link.ask(m.AskOpenOrders(account, 1))
        assert isinstance(answer.answer, m.OpenOrders)
        assert {order.client_order_id: order.order_id for order in answer.answer.orders} == acknowledged
        assert len(acknowledged) > 20
        while not feed or feed[-1] < answer.sequence:  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.02)
        assert feed == list(range(1, answer.sequence + 1))
        following.cancel()
        await link.stop()
        processes[-1].terminate()
        assert processes[-1].wait(10) == 0

    with contextlib.ExitStack() as cleanup:
        asyncio.run(scenario())
