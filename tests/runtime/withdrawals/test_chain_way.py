"""From a signature to a final transaction: nodes away, refusing, forgetful, at odds; blocks that leave the chain."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from local.simulated_chain import sender_of
from runtime.chain.rpc import NodeRefusedError
from runtime.chain.transactions import ORDER, TransactionError, read_transfer, transaction_id
from runtime.shared.business_events import CaseOpened
from runtime.shared.ethereum import rlp
from runtime.wallet_enclave.ethereum import address, derived, signed_transfer
from runtime.withdrawals.clerk import CHAIN_WAIT_S
from runtime.withdrawals.flow import CHAIN_PAUSE_S
from runtime.withdrawals.nodes import Fate, Mined, View, judged
from runtime.withdrawals.register import network_fees_key, paid_out_key
from tests.runtime.custody import vault
from tests.runtime.engine.test_engine import COIN
from tests.runtime.withdrawals.office import (
    ADDRESS,
    CONFIRMATIONS,
    WALLET,
    Chain,
    Node,
    Office,
)

FEE_WEI = 21_000 * (10**9 + 2 * 10**9)
"""What the simulated network takes of a transfer that offers as much as ours."""


def cases(office: Office) -> list[str]:
    return [event.kind for event in office.events if isinstance(event, CaseOpened)]


def at_pause(office: Office, *works: Callable[[], Any]) -> None:
    """Do one of `works` at each pause for the chain, in turn."""
    left = list(works)

    def meanwhile(state: str) -> None:
        if state != "Pause" and left:
            left.pop(0)()

    office.meanwhile = meanwhile


def test_funds_leave_when_the_transaction_is_deep_enough_and_not_before(office: Office) -> None:
    free, held = office.balance
    seen = []
    office.meanwhile = lambda state: seen.append((state, len(office.chain.blocks), office.balance))
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    found = office.register.withdrawal("withdrawal-0001")
    assert len(office.chain.blocks) - found["height"] == CONFIRMATIONS
    assert {balance for state, _, balance in seen if state != "Pause"} == {(free - 10 * COIN, held + 10 * COIN)}
    assert office.balance == (free - 10 * COIN, held)
    assert found["block"] == office.chain.blocks[found["height"]].hash
    assert office.received == 9 * COIN


def test_one_node_away_delays_the_end_and_not_the_sending(office: Office) -> None:
    away = office.nodes[1]
    away.is_there = False
    balances = []

    def back() -> None:
        balances.append((office.received, office.balance[1]))
        away.is_there = True

    at_pause(office, *[lambda: None] * (CONFIRMATIONS + 2), back)
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    assert balances == [(9 * COIN, 10 * COIN)], "it had arrived, and was not believed of one node"


def test_with_no_node_it_waits_and_goes_on_when_one_is_back(office: Office) -> None:
    for node in office.nodes:
        node.is_there = False
    at_pause(office, lambda: None, lambda: [setattr(node, "is_there", True) for node in office.nodes])
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    assert (len(office.sent), office.received) == (1, 9 * COIN)


def test_nodes_away_too_long_end_with_a_person_and_another_execution_takes_it_up(office: Office) -> None:
    free, held = office.balance
    for node in office.nodes:
        node.is_there = False
    assert office.run(office.ask("withdrawal-0001")) == "NotDecided"
    assert office.now_s > CHAIN_WAIT_S
    assert (cases(office), office.balance) == (["withdrawal-undecided"], (free - 10 * COIN, held + 10 * COIN))
    for node in office.nodes:
        node.is_there = True
    assert office.run("withdrawal-0001") == "Settled"
    assert (office.balance, len(office.sent), office.received) == ((free - 10 * COIN, held), 1, 9 * COIN)


def test_what_nodes_refuse_is_told_once_and_sent_when_its_cause_is_mended(office: Office) -> None:
    poor = derived(b"a wallet without ether")
    loaded = vault.encode(vault.load(vault.manifest(address(poor)), *vault.SIGNERS)).decode()
    item = {"id": {"S": "manifest#hot-1"}, "manifest": {"S": loaded}}
    office.client.put_item(TableName="signing", Item=item)
    office.key = poor
    at_pause(office, lambda: None, lambda: None, lambda: office.chain.pay(address(poor), 10**20))
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    assert cases(office) == ["withdrawal-not-taken"]
    assert "insufficient funds" in office.register.withdrawal("withdrawal-0001")["node_words"]
    assert len(office.sent) == 1


def test_what_the_nodes_lost_is_sent_again_and_paid_once(office: Office) -> None:
    at_pause(office, office.chain.forget, office.chain.forget)
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    sends = [raw for node in office.nodes for raw in node.sent]
    assert (len(set(sends)), len(sends) > 2, office.received) == (1, True, 9 * COIN)


def test_a_block_that_leaves_the_chain_takes_no_money_with_it(office: Office) -> None:
    at_pause(office, lambda: None, lambda: office.chain.reorganize(1))
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    assert (len(office.sent), office.received) == (1, 9 * COIN)
    found = office.register.withdrawal("withdrawal-0001")
    assert found["block"] == office.chain.blocks[found["height"]].hash


def test_nodes_at_odds_settle_nothing_until_they_agree(office: Office) -> None:
    other = Chain()
    other.pay(address(WALLET), 10**30)
    other.mine(2)
    office.nodes[1] = Node(other)
    held = []

    def agree() -> None:
        held.append(office.balance[1])
        office.nodes[1] = Node(office.chain)

    at_pause(office, *[other.mine] * (2 * CONFIRMATIONS), agree)
    assert office.run(office.ask("withdrawal-0001")) == "Settled"
    assert held == [10 * COIN]


def test_another_transaction_under_its_number_halts_everything_and_frees_nothing(office: Office) -> None:
    free, held = office.balance
    theft = vault.withdrawal(nonce=0, destination="0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", amount=7 * COIN)
    raw, _ = signed_transfer(WALLET, theft, vault.rule())

    def steal() -> None:
        office.chain.forget()
        office.chain.send(raw.hex())

    at_pause(office, steal)
    assert office.run(office.ask("withdrawal-0001")) == "NotDecided"
    assert cases(office) == ["withdrawal-replaced", "withdrawal-undecided"]
    assert office.balance == (free - 10 * COIN, held + 10 * COIN)
    assert office.run(office.ask("withdrawal-0002")) == "Refused"
    assert office.reasons("withdrawal-0002") == ["withdrawals-halted"]


def test_a_transfer_that_fails_on_the_chain_is_refunded_and_its_number_stays_used(office: Office) -> None:
    before = office.balance
    office.chain.refusing.add(ADDRESS)
    assert office.run(office.ask("withdrawal-0001")) == "Refused"
    assert office.reasons("withdrawal-0001") == ["failed-on-chain"]
    assert office.balance == before
    assert office.register.item(paid_out_key("ethereum", "ETH"))["units"] == 0
    assert office.register.item(network_fees_key("ethereum"))["units"] == FEE_WEI
    office.chain.refusing.clear()
    assert office.run(office.ask("withdrawal-0002")) == "Settled"
    assert json.loads(office.register.withdrawal("withdrawal-0002")["transfer"])["nonce"] == 1
    assert office.register.item(paid_out_key("ethereum", "ETH"))["units"] == 9 * COIN
    assert office.register.item(network_fees_key("ethereum"))["units"] == 2 * FEE_WEI


@pytest.mark.parametrize(
    "change",
    [
        {"destination": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"},
        {"amount": 9 * COIN + 1},
        {"nonce": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_signed_and_not_asked_for_is_never_sent(office: Office, change: dict[str, Any]) -> None:
    office.altered = lambda asked: msgspec.structs.replace(asked, **change)
    assert office.run(office.ask("withdrawal-0001")) == "NotDecided"
    assert (office.sent, cases(office)) == (set(), ["withdrawal-undecided"])


def test_the_longest_wait_fits_the_history_of_an_execution() -> None:
    """Step Functions ends an execution after 25,000 events: a task has five, a choice and a pause two each."""
    rounds = 2 * CHAIN_WAIT_S // CHAIN_PAUSE_S  # until it is sent, and until it is final
    assert rounds * (5 + 2 + 2) < 20_000


MINED, ELSEWHERE = Mined("0xaa", 7, succeeded=True, network_fee=1), Mined("0xbb", 7, succeeded=True, network_fee=1)
VAIN = Mined("0xaa", 7, succeeded=False, network_fee=1)


@pytest.mark.parametrize(
    ("views", "fate"),
    [
        ([], Fate.SILENT),
        ([View(Fate.FINAL, MINED, 9)], Fate.SILENT),
        ([View(Fate.FINAL, MINED, 3), View(Fate.FINAL, MINED, 9)], Fate.FINAL),
        ([View(Fate.FINAL, MINED, 2), View(Fate.FINAL, MINED, 9)], Fate.PENDING),
        ([View(Fate.FINAL, VAIN, 3), View(Fate.FINAL, VAIN, 3)], Fate.FAILED),
        ([View(Fate.FINAL, MINED, 9), View(Fate.FINAL, VAIN, 9)], Fate.APART),
        ([View(Fate.FINAL, MINED, 9), View(Fate.FINAL, ELSEWHERE, 9)], Fate.APART),
        ([View(Fate.FINAL, MINED, 9), View(Fate.PENDING)], Fate.PENDING),
        ([View(Fate.PENDING), View(Fate.FINAL, MINED, 9)], Fate.PENDING),
        ([View(Fate.UNKNOWN), View(Fate.FINAL, MINED, 9)], Fate.PENDING),
        ([View(Fate.REPLACED), View(Fate.FINAL, MINED, 9)], Fate.APART),
        ([View(Fate.REPLACED), View(Fate.UNKNOWN)], Fate.APART),
        ([View(Fate.REPLACED), View(Fate.REPLACED)], Fate.REPLACED),
        ([View(Fate.UNKNOWN), View(Fate.UNKNOWN)], Fate.UNKNOWN),
        ([View(Fate.UNKNOWN), View(Fate.PENDING)], Fate.PENDING),
    ],
)
def test_only_what_two_nodes_say_alike_counts(views: list[View], fate: Fate) -> None:
    found, mined = judged(views, 3)
    assert found == fate
    assert (mined is not None) == (fate in {Fate.FINAL, Fate.FAILED})


def test_a_transfer_is_read_back_as_it_was_signed() -> None:
    wanted, rule = vault.withdrawal(nonce=77), vault.rule()
    raw, name = signed_transfer(WALLET, wanted, rule)
    read = read_transfer(raw)
    assert (read.hash, sender_of(read), read.nonce, read.to) == (name, address(WALLET), 77, wanted.destination)
    assert (read.value, read.chain_id, read.data) == (wanted.amount * rule.chain_units, rule.chain_id, b"")
    for at in range(len(raw)):  # whatever is changed, it is not ours any more, or nothing at all
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert transaction_id(changed) != name
        try:
            other = sender_of(read_transfer(changed))
        except (TransactionError, NodeRefusedError):
            continue
        assert other != address(WALLET), at
    for wrong in (b"", raw[:-1], raw + b"\0", b"\x01" + raw[1:], b"\x02" + b"\xc1" * 5000, b"\x02\xf8\x00"):
        with pytest.raises(TransactionError):
            read_transfer(wrong)


def test_the_other_signature_that_fits_is_refused() -> None:
    """For each signature there is another one of the same key (s and its negative); Ethereum takes the smaller s."""
    wanted, rule = vault.withdrawal(), vault.rule()
    raw, _ = signed_transfer(WALLET, wanted, rule)
    fields: list[Any] = [rule.chain_id, wanted.nonce, wanted.priority_fee_per_gas_max, wanted.fee_per_gas_max, 21_000]
    fields += [bytes.fromhex(wanted.destination[2:]), wanted.amount * rule.chain_units, b"", ()]
    r, s, parity = (int.from_bytes(raw[-65:-33], "big"), int.from_bytes(raw[-32:], "big"), raw[-67])
    assert b"\x02" + rlp((*fields, parity % 0x80, r, s)) == raw
    with pytest.raises(TransactionError, match="out of bounds"):
        read_transfer(b"\x02" + rlp((*fields, 1 - parity % 0x80, r, ORDER - s)))


def test_the_simulated_chain_takes_only_what_ethereum_would() -> None:
    chain, rule = Chain(), vault.rule()
    chain.pay(address(WALLET), 10**18)
    chain.mine()

    def signed(**changes: Any) -> str:
        return signed_transfer(WALLET, vault.withdrawal(amount=10**6, **changes), rule)[0].hex()

    def refused(raw: str) -> str:
        with pytest.raises(Exception, match=r".") as error:
            chain.answer("eth_sendRawTransaction", ["0x" + raw])
        return str(error.value)

    foreign = vault.rule(chain_id=1)
    assert "invalid chain id" in refused(signed_transfer(WALLET, vault.withdrawal(), foreign)[0].hex())
    assert "insufficient funds" in refused(signed_transfer(WALLET, vault.withdrawal(amount=10**9), rule)[0].hex())
    assert "invalid transaction" in refused("02c0")
    later, first = signed(nonce=1), signed(nonce=0)
    chain.send(later)
    assert chain.mine().payments == (), "it waits for the one before it"
    name = chain.send(first)
    assert "already known" in refused(first)
    assert "replacement transaction underpriced" in refused(signed(nonce=0, destination=address(WALLET)))
    assert chain.answer("eth_getTransactionByHash", [name])["blockHash"] is None
    assert [payment.nonce for payment in chain.mine().payments] == [0, 1]
    assert "nonce too low" in refused(first)
    price = min(30 * 10**9, 10**9 + 10**9)
    spent = 2 * (10**6 * 10**10 + 21_000 * price)
    assert chain.balance_of(address(WALLET)) == 10**18 - spent
    assert chain.answer("eth_getTransactionReceipt", [name])["status"] == "0x1"
