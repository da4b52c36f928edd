"""Bugs to plant, each with the test that must turn red; `test_mutants.py` plants them one by one in a copy."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutant:
    """Replace `old`, which stands exactly once in `path`, by `new`; then `test` must fail."""

    name: str
    path: str
    old: str
    new: str
    test: str


_TRADING: Final = "runtime/engine/trading.py"
_SPECIAL: Final = "tests/runtime/engine/test_special.py"
_NAIVE: Final = "tests/runtime/engine/test_naive.py::test_the_engine_equals_a_naive_exchange"
_FORMAT1: Final = "tests/runtime/engine/test_format1.py"
_BOOK: Final = "tests/runtime/engine/test_book.py"
_ENGINE: Final = "tests/runtime/engine/test_engine.py"
_LOGS: Final = "tests/runtime/engine/test_logs.py"
_REPLICA: Final = "tests/runtime/engine/test_replica.py"
_BOOKS: Final = "tests/runtime/market_data/test_book_builder.py"
_STREAMS: Final = "tests/runtime/gateway/test_streams.py"
_SIGNING: Final = "tests/runtime/gateway/test_auth.py"
_CUSTODY: Final = "tests/runtime/custody/test_policy.py"
_ATTESTATION: Final = "tests/runtime/custody/test_attestation.py"
_DEPOSITS: Final = "tests/runtime/chain/test_deposits.py"
_KILL: Final = "tests/runtime/engine/test_server.py::test_kill_9_under_load_loses_and_doubles_nothing"
_CUTS: Final = "tests/runtime/engine/test_crash_points.py"
_SNAPSHOTS: Final = "tests/runtime/engine/test_snapshots.py"
_LEASE: Final = "tests/runtime/engine/test_lease.py"
_DRIVERS: Final = "tests/runtime/engine/test_event_logs.py"
_REFERENCE: Final = "tests/runtime/price_feed/test_reference.py"
_FAILOVER: Final = "tests/runtime/engine/test_failover.py"
_SAGA: Final = "tests/runtime/withdrawals/test_saga.py"

MUTANTS: Final = (
    Mutant(
        "a repeated command is applied again",
        "runtime/engine/sessions.py",
        "if n <= session.last:",
        "if False:",
        _REPLICA,
    ),
    Mutant(
        "a reply leaves before its batch is written",
        "runtime/engine/leader.py",
        "        self.journal.append(data, self.replica.sequence + 1)",
        "        self.late, data = data, getattr(self, 'late', b'')\n        self.journal.append(data, 1)",
        _CUTS,
    ),
    Mutant(
        "a leader that has lost its lease goes on",
        "runtime/engine/server.py",
        "vital = [self._committing, *([self._tenure.renewing] if self._tenure else [])]",
        "vital = [self._committing]",
        "tests/runtime/engine/test_server.py::test_a_leader_that_has_lost_its_lease_ends_though_nobody_sends_anything",
    ),
    Mutant(
        "unanswered commands are not sent again",
        "runtime/shared/engine_link.py",
        "self._outbox = [waiting.data for waiting in self._unanswered.values()]",
        "self._outbox = []",
        _KILL,
    ),
    Mutant(
        "the CRC is not checked",
        "runtime/engine/batch.py",
        "if zlib.crc32(body, zlib.crc32(header)) != crc:",
        "if crc < 0:",
        _LOGS,
    ),
    Mutant(
        "a fenced writer is believed",
        "runtime/engine/batch.py",
        "if batch.epoch < self.epoch:",
        "if False:",
        _LOGS,
    ),
    Mutant(
        "damage in the middle is cut like a torn tail",
        "runtime/engine/file_log.py",
        "        if not self._derivable and (later := _intact_batch_in(rest)) is not None:",
        "        if False:",
        _LOGS,
    ),
    Mutant(
        "two leaders at once",
        "runtime/engine/file_log.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        _LOGS,
    ),
    Mutant(
        "a cancel keeps the hold",
        _TRADING,
        "        if order.status != PENDING_NEW:\n            self._free(order, lots, market)",
        "        if False:\n            self._free(order, lots, market)",
        _ENGINE,
    ),
    Mutant(
        "the house collects a fee twice",
        _TRADING,
        "self.accounts.credit(house.holding(base), base_fee, self.sequence)",
        "self.accounts.credit(house.holding(base), 2 * base_fee, self.sequence)",
        _ENGINE,
    ),
    Mutant(
        "a better price is not refunded",
        _TRADING,
        "if buy.price and buy.price != price:  # held",
        "if False:  # held",
        _ENGINE,
    ),
    Mutant(
        "an update id is skipped",
        _TRADING,
        "market.update_id += 1",
        "market.update_id += 1 + (lots == 0)",
        _ENGINE,
    ),
    Mutant(
        "the newest order of a level is served first",
        "runtime/engine/book.py",
        "level.queue.append(order)\n        level.live",
        "level.queue.appendleft(order)\n        level.live",
        _BOOK,
    ),
    Mutant(
        "a taker may pass its limit",
        "runtime/engine/book.py",
        "price < limit):\n                break\n            level = levels",
        "price < limit):\n                pass\n            level = levels",
        _BOOK,
    ),
    Mutant(
        "a trailing stop follows a basis point too closely",
        "runtime/engine/triggers.py",
        "extreme * (BASIS_POINTS - terms",
        "extreme * (BASIS_POINTS + 1 - terms",
        _SPECIAL,
    ),
    Mutant(
        "an auction trades where least matches",
        "runtime/engine/auction.py",
        "if matched > most or",
        "if most == 0 or",
        _SPECIAL,
    ),
    Mutant(
        "a rebate is paid on top of the fee",
        _TRADING,
        "self._pay(self.accounts.accounts[FEE_ACCOUNT], maker, asset, rebate)",
        "self.accounts.credit(maker.holding(asset), rebate, self.sequence)",
        _SPECIAL,
    ),
    Mutant(
        "a stale reference price still bounds orders",
        "runtime/engine/market.py",
        "time_us - self.reference_us <= self.spec.reference_age_us",
        "self.reference_us <= time_us",
        _SPECIAL,
    ),
    Mutant(
        "a withdrawal is settled twice",
        "runtime/engine/engine.py",
        "        del self.holds[command.reference]\n",
        "",
        _SPECIAL,
    ),
    Mutant(
        "a snapshot is taken of money that does not add up",
        "runtime/engine/replica.py",
        "        check_conservation(engine)\n",
        "",
        _SPECIAL,
    ),
    Mutant(
        "an iceberg keeps its place when it shows itself anew",
        "runtime/engine/book.py",
        "level.queue.append(order)\n            return",
        "level.queue.appendleft(order)\n            return",
        _NAIVE,
    ),
    Mutant(
        "one order of a pair executes and the other stays",
        _TRADING,
        "        self._end(other, market, EXPIRED, EXEC_EXPIRED)",
        "        pass",
        _NAIVE,
    ),
    Mutant(
        "what waits for an order is placed when that is partly filled and canceled",
        _TRADING,
        "            if order.status == FILLED:\n                market.triggers",
        "            if order.executed_lots:\n                market.triggers",
        _NAIVE,
    ),
    Mutant(
        "of triggers reached together the younger fires first",
        "runtime/engine/triggers.py",
        "for order_id in sorted(level):",
        "for order_id in sorted(level, reverse=True):",
        _SPECIAL + "::test_of_stops_reached_together_the_oldest_fires_first",
    ),
    Mutant(
        "an old journal is replayed under new rules",
        _TRADING,
        "self.rules: int = RULES_1",
        "self.rules: int = RULES_2",
        _FORMAT1,
    ),
    Mutant(
        "a snapshot forgets replies",
        "runtime/engine/replica.py",
        "remembered.replies = {replied.n: replied for replied in session.replies}",
        "remembered.replies = {}",
        _REPLICA,
    ),
    Mutant(
        "the slow depth channel forgets asks",
        "runtime/market_data/book_builder.py",
        "            self._slow.asks.update(diff.asks)",
        "            pass",
        _BOOKS,
    ),
    Mutant(
        "a subscription is confirmed before it is followed",
        "runtime/gateway/streams.py",
        "        if waiting:",
        "        if False:",
        _STREAMS,
    ),
    Mutant(
        "a stale request is accepted",
        "runtime/gateway/auth.py",
        "now_us - self.timestamp_us > self.window_us",
        "now_us - self.timestamp_us > self.window_us + 1_000",
        _SIGNING,
    ),
    Mutant(
        "a batch is acknowledged before it is synced",
        "runtime/engine/file_log.py",
        "        if not self._derivable:\n            disk.sync(file)",
        "        pass",
        _CUTS,
    ),
    Mutant(
        "the journal keeps effects only: a reject leaves no trace",
        "runtime/engine/sessions.py",
        "    session.remember(replied)",
        "    session.remember(replied) if not isinstance(reply, Rejected) else None",
        _CUTS,
    ),
    Mutant(
        "a torn batch is believed",
        "runtime/engine/batch.py",
        "    if zlib.crc32(body, zlib.crc32(header)) != crc:",
        "    if crc < 0:",
        _CUTS,
    ),
    Mutant(
        "a snapshot does not make its events durable",
        "runtime/engine/follower.py",
        "        self.events.sync()",
        "        pass",
        _CUTS,
    ),
    Mutant(
        "a snapshot is believed whatever its sequence",
        "runtime/engine/snapshots.py",
        "    if not snapshot.sequence == replica.sequence == snapshot.journal.next_sequence - 1:",
        "    if False:",
        _SNAPSHOTS,
    ),
    Mutant(
        "a start from a snapshot replays the journal from its beginning",
        "runtime/engine/follower.py",
        "        self.journal.seek(journal)",
        "        self.journal.seek(_START)",
        _SNAPSHOTS,
    ),
    Mutant(
        "a counter that moves is taken for one that stands still",
        "runtime/engine/lease.py",
        "        if held != self._seen:",
        "        if self._seen is None:",
        _LEASE,
    ),
    Mutant(
        "a holder believes in its lease from the moment of the answer",
        "runtime/engine/lease.py",
        "        return self._mine is not None and self._clock() < self._valid_until",
        "        return self._mine is not None and self._clock() < self._valid_until + self._expiry_s / 2",
        _LEASE,
    ),
    Mutant(
        "a marker that was not accepted is not written again",
        "runtime/engine/leader.py",
        "            if log.chain.epoch == self.epoch:\n                return",
        "            return",
        _DRIVERS,
    ),
    Mutant(
        "an older leader is not fenced",
        "runtime/engine/memory_log.py",
        "        if self._topic.fences and self._topic.writer is not self:",
        "        if False:",
        _DRIVERS,
    ),
    Mutant(
        "one signer is a quorum",
        "runtime/wallet_enclave/manifest.py",
        "if len(valid) < QUORUM:",
        "if len(valid) < 1:",
        _CUSTODY,
    ),
    Mutant(
        "an approver counts twice",
        "runtime/wallet_enclave/policy.py",
        "    valid = {\n        each.approver\n        for each",
        "    valid = {\n        each.signature\n        for each",
        _CUSTODY,
    ),
    Mutant(
        "an approval never ends",
        "runtime/wallet_enclave/policy.py",
        "and each.expires_at > now_s",
        "and each.expires_at >= 0",
        _CUSTODY,
    ),
    Mutant(
        "the cap of one start is forgotten",
        "runtime/wallet_enclave/policy.py",
        "if total > rule.boot_max:",
        "if withdrawal.amount > rule.boot_max:",
        _CUSTODY,
    ),
    Mutant(
        "a request may be written in two ways",
        "runtime/wallet_enclave/messages.py",
        "if msgspec.json.encode(message) != data:",
        "if False:",
        _CUSTODY,
    ),
    Mutant(
        "any root is believed",
        "runtime/wallet_enclave/attestation.py",
        "if chain[0].public_bytes(Encoding.DER) != root:",
        "if False:",
        _ATTESTATION,
    ),
    Mutant(
        "a credited deposit leaves in silence",
        "runtime/chain/deposits.py",
        "                    changes.append(Frozen(transfer, left.hash))",
        "                    pass",
        _DEPOSITS,
    ),
    Mutant(
        "a deposit is credited a block too soon",
        "runtime/chain/deposits.py",
        "if depth < self.confirmations(transfer):",
        "if depth + 1 < self.confirmations(transfer):",
        _DEPOSITS,
    ),
    Mutant(
        "a posting's hash forgets the row before it",
        "runtime/ledger/chain.py",
        "sha256(bytes.fromhex(previous) + msgspec",
        "sha256(msgspec",
        "tests/runtime/ledger/test_chain.py",
    ),
    Mutant(
        "linked accounts are taken for strangers",
        "runtime/surveillance/trades.py",
        'return owners.get(account, f"account:{account}")',
        'return f"account:{account}"',
        "tests/runtime/surveillance/test_detectors.py",
    ),
    Mutant(
        "a trade that comes twice is observed twice",
        "runtime/surveillance/trades.py",
        "if trade.trade_id <= watch.last_trade_id:",
        "if False:",
        "tests/runtime/surveillance/test_detectors.py",
    ),
    Mutant(
        "a case is announced with every finding",
        "runtime/surveillance/cases.py",
        'if _refused_item(error).get("is_announced", {}).get("BOOL"):',
        "if _refused_item(error) is None:",
        "tests/runtime/surveillance/test_desk.py",
    ),
    Mutant(
        "a day that is not over is reported",
        "runtime/reporting/filing.py",
        "if time_us < end_us and now_us < end_us + QUIET_US:",
        "if False:",
        "tests/runtime/reporting/test_filing.py",
    ),
    Mutant(
        "trades and postings are not compared",
        "runtime/reporting/day.py",
        "if traded[asset] != posted.get(asset, 0):",
        "if False:",
        "tests/runtime/reporting/test_filing.py",
    ),
    Mutant(
        "the writer may delete what was posted",
        "runtime/ledger/migrations/0002_roles_and_views.sql",
        "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ledger_writer;",
        "GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO ledger_writer;",
        "tests/runtime/ledger/test_roles.py",
    ),
    Mutant(
        "the teller holds funds without the approvals",
        "runtime/withdrawals/teller.py",
        'if (count := len(valid(found, self.now_s))) < found["approvals_needed"]:',
        "if (count := len(valid(found, self.now_s))) < 0:",
        _SAGA + "::test_a_large_withdrawal_needs_two_who_did_not_ask",
    ),
    Mutant(
        "who asked may approve",
        "runtime/withdrawals/approvals.py",
        "if approval.approver == asked_by:",
        "if False:",
        _SAGA + "::test_a_large_withdrawal_needs_two_who_did_not_ask",
    ),
    Mutant(
        "a hold that was made already stops the withdrawal",
        "runtime/withdrawals/teller.py",
        "if isinstance(reply, Rejected) and reply.reason == DUPLICATE_TRANSFER:",
        "if False:",
        _SAGA + "::test_a_process_that_ends_anywhere_neither_loses_nor_doubles",
    ),
    Mutant(
        "too much in an hour only refuses",
        "runtime/withdrawals/clerk.py",
        "        self.register.halt(reason, self.now_s)\n",
        "",
        _SAGA + "::test_too_much_in_an_hour_halts_everything_until_somebody_opens_again",
    ),
    Mutant(
        "a sale leaves its cost behind",
        "runtime/portfolio/holdings.py",
        "pool.cost -= cost",
        "pool.cost -= 0",
        "tests/runtime/portfolio/test_holdings.py",
    ),
    Mutant(
        "what was bought is sold before what has no cost",
        "runtime/portfolio/holdings.py",
        "rest = max(amount - matched - uncosted, 0)",
        "rest = amount - matched",
        "tests/runtime/portfolio/test_holdings.py",
    ),
    Mutant(
        "a reference price is a mean",
        "runtime/price_feed/reference.py",
        "ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]  #",
        "2 * sum(ordered) // len(ordered)  #",
        _REFERENCE,
    ),
    Mutant(
        "an old quote is used",
        "runtime/price_feed/reference.py",
        "if 0 <= now_us - sighting.at_us <= rules.stale_us",
        "if 0 <= now_us - sighting.at_us",
        _REFERENCE,
    ),
    Mutant(
        "a venue's price passes through a float",
        "runtime/price_feed/venues.py",
        "parse_float=str",
        "parse_float=lambda text: str(float(text))",
        "tests/runtime/price_feed/test_venues.py",
    ),
    Mutant(
        "an auction waits until somebody trades",
        "runtime/engine/server.py",
        "                link.beat()\n            self._end_due_auction()",
        "                link.beat()",
        "tests/runtime/engine/test_server.py::test_an_auction_ends_in_time_though_nobody_sends_anything",
    ),
    Mutant(
        "a leader keeps a state whose sums are wrong",
        "runtime/engine/server.py",
        "                future.set_exception(error)\n                raise",
        "                future.set_exception(error)",
        "tests/runtime/engine/test_server.py::test_a_leader_whose_sums_are_wrong_ends_before_it_keeps_them",
    ),
    Mutant(
        "one operator is enough for a closure",
        "runtime/offboarding/clerk.py",
        "            if count < NEEDED:",
        "            if False:",
        "tests/runtime/offboarding/test_closure.py::test_an_operators_closure_needs_two_who_did_not_ask",
    ),
    Mutant(
        "books that do not add up are handed over",
        "runtime/offboarding/export.py",
        "    if sums != posted:",
        "    if False:",
        "tests/runtime/offboarding/test_hand_over.py::test_books_that_do_not_add_up_are_not_handed_over",
    ),
    Mutant(
        "a statement is written before the ledger has caught up",
        "runtime/offboarding/writer.py",
        'if row is None or row[0] < found["sequence"]:',
        "if False:",
        "tests/runtime/offboarding/test_closure.py::test_a_statement_waits_for_a_ledger_that_is_behind",
    ),
    Mutant(
        "a ring is not closed",
        "runtime/surveillance/rings.py",
        "len(walk) < limits.owners_min or walk[0].buyer != buyer",
        "len(walk) < limits.owners_min",
        "tests/runtime/surveillance/test_rings.py",
    ),
    Mutant(
        "a key withdraws from anywhere",
        "runtime/gateway/auth.py",
        "return permission != WITHDRAW",
        "return True",
        "tests/runtime/gateway/test_wallet.py::test_only_a_key_for_it_withdraws_and_only_from_its_addresses",
    ),
    Mutant(
        "an answer overtakes what happened before",
        "runtime/gateway/streams.py",
        "        self._hub.flush()  # what happened before is told before the answer",
        "        pass",
        "tests/runtime/gateway/test_streams.py",
    ),
    Mutant(
        "a slow client is told the oldest state",
        "runtime/gateway/streams.py",
        "topic.last = news[-1]",
        "topic.last = news[0]",
        "tests/runtime/gateway/test_streams.py",
    ),
    Mutant(
        "text that is not UTF-8 is read",
        "runtime/gateway/ws.py",
        "if not (message.isascii() or _is_utf8(message)):",
        "if False:",
        "tests/runtime/gateway/test_malformed_frames.py",
    ),
    Mutant(
        "an engine that is down ends the price feed",
        "runtime/price_feed/feed.py",
        '        except EngineError as error:\n            logger.warning("the engine does not take',
        '        except ZeroDivisionError as error:\n            logger.warning("the engine does not take',
        "tests/runtime/price_feed/test_feed.py",
    ),
    Mutant(
        "an event that the bus refused is dropped",
        "runtime/price_feed/feed.py",
        "len(self._pending), error)\n",
        "len(self._pending), error)\n                    self._pending.clear()\n",
        "tests/runtime/price_feed/test_feed.py",
    ),
    Mutant(
        "a venue's message has frames without end",
        "runtime/price_feed/feed.py",
        "or len(self._parts) > PARTS_MAX:",
        "or False:",
        "tests/runtime/price_feed/test_feed.py",
    ),
)
