"""All accounts of a true ledger as files: the same bytes twice, checked from those bytes alone, faults named."""

import asyncio
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import boto3
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.markets import CATALOGUE
from runtime.offboarding.approvals import approval_text
from runtime.offboarding.clerk import NotApprovedError
from runtime.offboarding.export import export
from runtime.offboarding.hand_over import Exporter
from runtime.offboarding.register import HAND_OVER, OPERATOR, Register
from runtime.reporting.day import OutOfBalanceError
from runtime.shared.business_events import BusinessEvent, HandOverChanged
from runtime.shared.hand_over import ACCOUNTS, BALANCES, DIFFERENCES_MAX, MANIFEST, ORDERS, Reconciliation, reconcile
from runtime.shared.messages import BUY, SELL
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import stored
from tests.runtime.ledger.feeds import ANA, BUDI, START_US, Database, funded_feed, order

NOW = START_US // 1_000_000 + 86_400
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 4)]
PUBLIC = [key.public_key().public_bytes_raw().hex() for key in KEYS]


@pytest.fixture
def ledger(conninfo: str) -> Iterator[psycopg.Connection]:
    async def fill() -> None:
        database = await Database.open(conninfo)
        async with database.connection:
            feed = funded_feed()
            for number in range(20):
                feed.do(order((ANA, BUDI)[number % 2], (BUY, SELL)[number % 2], 6_000_000, 97 + number, f"c{number}"))
            feed.do(order(ANA, BUY, 5_000_000, 500, 'odd, "name"'))
            await database.take(feed.happened)

    asyncio.run(fill())
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


@pytest.fixture
def files(ledger: psycopg.Connection) -> dict[str, bytes]:
    return export(ledger, CATALOGUE, "hand-over-1").files


def checked(files: dict[str, bytes]) -> Reconciliation:
    return reconcile(files.get, CATALOGUE)


def forged(files: dict[str, bytes], name: str, change: Callable[[str], str]) -> dict[str, bytes]:
    """Return the folder with one file changed, and its manifest as if it had been written so."""
    content = change(files[name].decode()).encode()
    manifest = json.loads(files[MANIFEST])
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry["sha256"] = sha256(content).hexdigest()
    return files | {name: content, MANIFEST: json.dumps(manifest).encode()}


def test_what_is_written_is_what_the_ledger_holds_and_differs_in_nothing(
    ledger: psycopg.Connection, files: dict[str, bytes]
) -> None:
    found = checked(files)
    assert (found.differences, found.is_zero, found.is_whole) == ([], True, True)
    sums = ledger.execute(
        "SELECT asset, sum(free + held) FROM balances WHERE account >= 1000 GROUP BY asset"
    ).fetchall()
    assert {name: total.replace(".", "").lstrip("0") for name, total in found.totals.items()} == {
        CATALOGUE.asset_by_id[asset].name: str(total) for asset, total in sums
    }
    (resting,) = ledger.execute("SELECT count(*) FROM orders WHERE status IN (0, 1)").fetchall()
    assert found.rows == {ACCOUNTS: 2, BALANCES: len(sums) * 2, ORDERS: resting[0]}
    assert resting[0] >= 1
    manifest = json.loads(files[MANIFEST])
    assert manifest["totals"] == found.totals
    assert manifest["ledger_sequence"] == ledger.execute("SELECT sequence FROM positions").fetchone()[0]  # type: ignore[index]
    assert '"odd, ""name"""' in files[ORDERS].decode()
    assert export(ledger, CATALOGUE, "hand-over-1").files == files, "the same books give the same bytes"


def test_a_changed_byte_is_seen_by_the_checksum(files: dict[str, bytes]) -> None:
    changed = files | {ACCOUNTS: files[ACCOUNTS].replace(b"budi", b"bude")}
    assert [each.where for each in checked(changed).differences] == [f"{ACCOUNTS}: sha256"]


@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        (BALANCES, lambda text: text.replace(f"{ANA},BTC,1", f"{ANA},BTC,2"), "total of BTC"),
        (BALANCES, lambda text: text.replace(f"{ANA},BTC,", "1999,BTC,"), "balances.csv: row"),
        (BALANCES, lambda text: text.replace(f"{ANA},BTC,", f"{ANA},BTC,-"), "balances.csv: row"),
        (BALANCES, lambda text: text.replace(f"{BUDI},BTC,", f"{ANA},BTC,"), "one row"),
        (BALANCES, lambda text: text.replace(",BTC,", ",XBT,"), "balances.csv: row"),
        (BALANCES, lambda text: text.rsplit("\r\n", 2)[0] + "\r\n", "balances.csv: rows"),
        (ACCOUNTS, lambda text: text.replace(str(BUDI), str(ANA)), "accounts.csv: row 2: account"),
        (ACCOUNTS, lambda text: text.replace("budi", ""), "accounts.csv: row 2: name"),
        (ACCOUNTS, lambda text: text.replace("account,name", "name,account"), "accounts.csv: columns"),
        (ACCOUNTS, lambda text: text.replace("budi", '"budi"x'), "accounts.csv"),
        (ORDERS, lambda text: text.replace("BTCUSDT", "XBTUSDT"), "open_orders.csv: row 1: symbol"),
        (ORDERS, lambda text: text.replace(",BUY,", ",buy,"), "side BUY or SELL"),
        (ORDERS, lambda text: text.replace("50000.", "50000.0000001"), "open_orders.csv: row"),
    ],
)
def test_each_fault_of_the_content_is_named(
    files: dict[str, bytes], name: str, change: Callable[[str], str], where: str
) -> None:
    assert change(files[name].decode()) != files[name].decode()
    found = checked(forged(files, name, change))
    assert not found.is_zero
    assert any(where in f"{each.where} {each.expected}" for each in found.differences), found.differences


@pytest.mark.parametrize(
    ("content", "where"),
    [(None, MANIFEST), (b"{}", MANIFEST), (b"no json", MANIFEST)],
)
def test_without_a_manifest_nothing_is_read(files: dict[str, bytes], content: bytes | None, where: str) -> None:
    folder = dict(files)
    folder.pop(MANIFEST)
    if content is not None:
        folder[MANIFEST] = content
    found = checked(folder)
    assert [each.where for each in found.differences] == [where]
    assert found.rows == {}


def test_a_report_of_very_many_faults_says_that_it_is_not_whole(files: dict[str, bytes]) -> None:
    rows = "".join(f"{number},BTC,1,0\r\n" for number in range(5000, 5000 + DIFFERENCES_MAX + 5))
    found = checked(forged(files, BALANCES, lambda text: text + rows))
    assert (len(found.differences), found.is_whole, found.is_zero) == (DIFFERENCES_MAX, False, False)


def test_books_that_do_not_add_up_are_not_handed_over(ledger: psycopg.Connection) -> None:
    ledger.execute("UPDATE balances SET free = free + 1 WHERE account = %s AND asset = 1", (ANA,))
    with pytest.raises(OutOfBalanceError, match="balances and postings of customers differ"):
        export(ledger, CATALOGUE, "hand-over-1")


def test_two_approvals_and_then_once(ledger: psycopg.Connection, conninfo: str, bucket: Any) -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    client.create_table(
        TableName="offboarding",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    register, events = Register("offboarding", client=client), list[BusinessEvent]()
    asked = {"kind": HAND_OVER, "account": 0, "asked_by": "citra", "initiator": OPERATOR, "details": "{}"}
    register.add({"id": "hand-over-1", **asked}, NOW)
    exporter = Exporter(
        register=register,
        connect=lambda: psycopg.connect(conninfo, autocommit=True),
        catalogue=CATALOGUE,
        bucket=bucket,
        approvers=PUBLIC,
        publish=events.append,
        now_s=NOW,
    )
    step = {"hand_over_id": "hand-over-1", "token": "t", "attempt": 1}
    exporter.do(step | {"step": "await-approval"})
    found = register.request("hand-over-1")
    for number in range(2):
        with pytest.raises(NotApprovedError, match=f"2 approvals are needed, {number} count"):
            exporter.do(step | {"step": "export"})
        assert list(bucket.objects.all()) == []
        word = Approval(PUBLIC[number], NOW + 60, KEYS[number].sign(approval_text(found, NOW + 60)).hex())
        register.approve("hand-over-1", PUBLIC[number], stored(word))
    for _twice in range(2):
        assert exporter.do(step | {"step": "export"})["outcome"] == "exported"
    sequence = ledger.execute("SELECT sequence FROM positions").fetchone()[0]  # type: ignore[index]
    folder = f"hand-over/hand-over-1/{sequence}"
    stored_files = {each.key.rpartition("/")[2]: each.get()["Body"].read() for each in bucket.objects.all()}
    assert {each.key.rpartition("/")[0] for each in bucket.objects.all()} == {folder}
    assert checked(stored_files).is_zero
    assert [(e.state, e.location) for e in events if isinstance(e, HandOverChanged)][1:] == [
        ("exported", f"s3://{bucket.name}/{folder}/{MANIFEST}")
    ] * 2
    with pytest.raises(StatusError, match="cannot be refused"):
        exporter.do(step | {"step": "refuse"})
