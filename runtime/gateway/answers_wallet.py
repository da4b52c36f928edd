"""Answers about what comes in from chains and goes out to them: addresses, deposits, withdrawals."""

import hashlib
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from runtime.gateway import views
from runtime.gateway.dispatch import Call, Exchange
from runtime.gateway.errors import (
    BAD_COMBINATION,
    BAD_PARAMETER,
    DISCONNECTED,
    INTERVAL_TOO_LONG,
    NOT_SUPPORTED,
    UNEXPECTED_RESPONSE,
)
from runtime.gateway.listings import amount_units
from runtime.gateway.params import Values
from runtime.gateway.wallet import (
    NETWORKS,
    Row,
    Wallet,
    WalletRefusedError,
    WalletUnavailableError,
    WithdrawalRule,
)
from runtime.shared.catalogue import Asset
from runtime.withdrawals import register

SPAN_DAYS_MAX: Final = 90
"""Of one answer, and what it is when nothing else is asked for."""
ROWS_MAX: Final = 1_000
OFFSET_MAX: Final = 10_000
_DAY_US: Final = 24 * 3600 * 1_000_000
CHAINS: Final = {network: chain for chain, network in NETWORKS.items()}

PENDING: Final = 0
SUCCESS: Final = 1
REJECTED: Final = 2
WRONG: Final = 7
DEPOSIT_STATES: Final = {
    "pending": PENDING,
    "crediting": PENDING,
    "credited": SUCCESS,
    "refused": REJECTED,
    "orphaned": REJECTED,
    "dust": WRONG,
    "frozen": WRONG,
}
"""By the watcher's name: what clients know. Frozen: credited, and then its block left the chain."""
AWAITING_APPROVAL: Final = 2
WITHDRAWAL_REJECTED: Final = 3
PROCESSING: Final = 4
FAILED: Final = 5
COMPLETED: Final = 6
WITHDRAWAL_STATES: Final = {
    register.PREPARED: AWAITING_APPROVAL,
    register.REFUSED: WITHDRAWAL_REJECTED,
    register.DECLINED: FAILED,
    register.RELEASED: FAILED,
    register.SETTLED: COMPLETED,
}
"""By the register's name, where it is not PROCESSING."""


class DepositAddress(Struct, rename="camel"):
    """Where an account is paid in an asset."""

    coin: str
    address: str
    tag: str = ""
    url: str = ""


class DepositRow(Struct, rename="camel"):
    """A payment to an account. `insert_time`: when its state last changed."""

    id: str
    amount: str
    coin: str
    network: str
    status: int
    address: str
    address_tag: str
    tx_id: str
    insert_time: int
    transfer_type: int
    confirm_times: str
    unlock_confirm: int
    wallet_type: int


class WithdrawalRow(Struct, rename="camel", omit_defaults=True):
    """A withdrawal. `amount` is what is sent; with the fee it is what was asked for."""

    id: str
    amount: str
    transaction_fee: str
    coin: str
    status: int
    address: str
    network: str
    apply_time: str
    transfer_type: int
    wallet_type: int
    tx_id: str
    info: str
    """Why it was refused."""
    withdraw_order_id: str = ""


class WithdrawalId(Struct):
    """The name of a withdrawal."""

    id: str


async def deposit_address(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's address for an asset; the same for ever."""
    wallet, asset = _wallet(exchange), call.values["coin"]
    found = [chain for chain in wallet.chains if any(each.name == asset.name for each in chain.assets)]
    chain = _chosen(found, call.values.get("network"), lambda each: each.name)
    try:
        address = await wallet.address(call.owner.account, chain)
    except WalletUnavailableError:
        raise DISCONNECTED.error() from None
    return views.encode(DepositAddress(asset.name, address))


async def deposits(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's deposits, the newest first."""
    values, wallet = call.values, _wallet(exchange)
    asset: Asset | None = values.get("coin")

    def wants(row: Row) -> bool:
        return (
            (asset is None or row["asset"] == asset.name)
            and values.get("status") in (None, DEPOSIT_STATES[row["status"]])
            and values.get("txId") in (None, _transaction(row["place"]))
        )

    confirmations = {(chain.name, each.name): each.confirmations for chain in wallet.chains for each in chain.assets}
    rows = await _page(wallet.deposits, call, wants)
    return views.encode([_deposit(exchange, row, confirmations, call.unit) for row in rows])


def _deposit(exchange: Exchange, row: Row, confirmations: dict[tuple[str, str], int], unit: int) -> DepositRow:
    needed = confirmations.get((row["chain"], row["asset"]), 0)
    status = DEPOSIT_STATES[row["status"]]
    return DepositRow(
        id=hashlib.sha256(row["id"].encode()).hexdigest()[:32],
        amount=exchange.listings.amount_text(exchange.listings.catalogue.asset(row["asset"]).id, int(row["units"])),
        coin=row["asset"],
        network=NETWORKS[row["chain"]],
        status=status,
        address=row["address"],
        address_tag="",
        tx_id=_transaction(row["place"]),
        insert_time=row["changed_us"] // unit,
        transfer_type=0,
        confirm_times=f"{needed if status == SUCCESS else 0}/{needed}",
        unlock_confirm=needed,
        wallet_type=0,
    )


def _transaction(place: str) -> str:
    """Return the id of a transaction; a place is it and the number of an output."""
    return place.partition(":")[0]


async def withdrawals(exchange: Exchange, call: Call) -> bytes:
    """Answer the account's withdrawals, the newest first."""
    values, wallet = call.values, _wallet(exchange)
    asset: Asset | None = values.get("coin")
    rules = {(rule.asset, rule.chain): rule for rule in wallet.rules}

    def wants(row: Row) -> bool:
        return (
            (asset is None or row["asset"] == asset.name)
            and values.get("status") in (None, _state(row))
            and values.get("withdrawOrderId") in (None, row.get("client_id", ""))
        )

    rows = await _page(wallet.withdrawals, call, wants)
    return views.encode([_withdrawal(exchange, row, rules.get((row["asset"], row["chain"]))) for row in rows])


def _state(row: Row) -> int:
    if row["status"] == register.PREPARED and not row.get("approvals_needed"):
        return PROCESSING
    return WITHDRAWAL_STATES.get(row["status"], PROCESSING)


def _withdrawal(exchange: Exchange, row: Row, rule: WithdrawalRule | None) -> WithdrawalRow:
    asset = exchange.listings.catalogue.asset(row["asset"]).id
    fee = min(row.get("fee", rule.fee if rule else 0), row["amount"])
    return WithdrawalRow(
        id=row["id"],
        amount=exchange.listings.amount_text(asset, row["amount"] - fee),
        transaction_fee=exchange.listings.amount_text(asset, fee),
        coin=row["asset"],
        status=_state(row),
        address=row["destination"],
        network=NETWORKS[row["chain"]],
        apply_time=datetime.fromtimestamp(row["asked_at_s"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
        transfer_type=0,
        wallet_type=0,
        tx_id=row.get("transaction_id", ""),
        info=row.get("words", ""),
        withdraw_order_id=row.get("client_id", ""),
    )


async def withdraw(exchange: Exchange, call: Call) -> bytes:
    """Take a request to withdraw; what becomes of it stands in the history. The same name again is the same request."""
    values, wallet, account = call.values, _wallet(exchange), call.owner.account
    asset: Asset = values["coin"]
    rule = _chosen(
        [each for each in wallet.rules if each.asset == asset.name], values.get("network"), lambda r: r.chain
    )
    units = amount_units("amount", values["amount"], asset)
    if not units:
        raise BAD_PARAMETER.error("amount")
    client_id: str = values.get("withdrawOrderId", "")
    name = hashlib.sha256(f"{account}/{client_id}".encode()).hexdigest()[:32] if client_id else uuid.uuid4().hex
    asked: dict[str, Any] = {
        "withdrawal_id": name,
        "account": account,
        "asked_by": f"account/{account}",
        "asset": asset.name,
        "chain": rule.chain,
        "destination": values["address"],
        "amount": units,
        "client_id": client_id,
    }
    if "name" in values:
        asked["receiver"] = {"name": values["name"], "place": values.get("receiverPlace", "")}
    call.check_fresh()
    try:
        await wallet.withdraw(asked)
    except WalletRefusedError:
        raise BAD_PARAMETER.error("withdrawOrderId") from None
    except WalletUnavailableError:
        raise UNEXPECTED_RESPONSE.error() from None
    return views.encode(WithdrawalId(name))


def _wallet(exchange: Exchange) -> Wallet:
    if exchange.wallet is None:
        raise NOT_SUPPORTED.error()
    return exchange.wallet


def _chosen(found: list[Any], chain: str | None, chain_of: Callable[[Any], str]) -> Any:  # noqa: ANN401 - one of `found`
    """Return the first of `found`, or the one on a chain. Raises -1020 when there is none."""
    fitting = [each for each in found if chain in (None, chain_of(each))]
    if not fitting:
        raise NOT_SUPPORTED.error()
    return fitting[0]


async def _page(read: Callable[..., Any], call: Call, wants: Callable[[Row], bool]) -> list[Row]:
    """Return the rows of the page that is asked for."""
    values = call.values
    offset: int = values["offset"]
    try:
        rows: list[Row] = await read(call.owner.account, _span(values), wants, offset + values["limit"])
    except WalletUnavailableError:
        raise DISCONNECTED.error() from None
    return rows[offset:]


def _span(values: Values) -> tuple[int, int]:
    """Return the time that is asked for: 90 days, the newest when no end is given. Raises -1128 and -1127."""
    now_us = time.time_ns() // 1_000
    start, end = values.get("startTime"), values.get("endTime")
    if end is None:
        end = now_us if start is None else start + SPAN_DAYS_MAX * _DAY_US
    if start is None:
        start = max(0, end - SPAN_DAYS_MAX * _DAY_US)
    if start > end:
        raise BAD_COMBINATION.error()
    if end - start > SPAN_DAYS_MAX * _DAY_US:
        raise INTERVAL_TOO_LONG.error(SPAN_DAYS_MAX * 24)
    return start, end
