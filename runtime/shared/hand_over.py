"""All accounts of an exchange as files: what is handed over to another trader, and what is taken over from one. Pure.

Four files in one folder: `accounts.csv`, `balances.csv`, `open_orders.csv` (RFC 4180, UTF-8, a header line, amounts as
decimal text) and `manifest.json`, which is written last and names each file's checksum, rows, and control totals.
The same books give the same bytes, so that both sides can compare by checksum alone.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.shared.catalogue import Catalogue, CatalogueError
from runtime.shared.money import MoneyError, format_decimal, parse_decimal

SCHEMA: Final = "bursa.hand-over.1"
MANIFEST: Final = "manifest.json"
ACCOUNTS: Final = "accounts.csv"
BALANCES: Final = "balances.csv"
ORDERS: Final = "open_orders.csv"
COLUMNS: Final = {
    ACCOUNTS: ("account", "name", "tier"),
    BALANCES: ("account", "asset", "free", "held"),
    ORDERS: (
        *("order_id", "account", "symbol", "side", "type", "time_in_force"),
        *("price", "stop_price", "quantity", "executed", "client_order_id"),
    ),
}
SIDES: Final = ("BUY", "SELL")
TYPES: Final = (
    *("LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
)
TIMES_IN_FORCE: Final = ("GTC", "IOC", "FOK")
"""Words of the API, in the order of the engine's numbers."""
DIFFERENCES_MAX: Final = 1_000
"""Of one report; `is_whole` tells whether there are more."""


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the folder."""

    name: str
    sha256: str
    rows: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs to a hand-over: its files, and what they add up to."""

    schema: str
    hand_over_id: str
    ledger_sequence: int
    """Everything up to here is in it."""
    files: list[FileEntry]
    totals: dict[str, str]
    """Free and held of all accounts, by asset, as decimal text."""


class Difference(Struct, frozen=True):
    """One thing that is not as it must be."""

    where: str
    expected: str
    found: str


class Reconciliation(Struct, frozen=True):
    """What the check of a folder found. Nothing may be posted while there is a difference."""

    hand_over_id: str
    is_zero: bool
    is_whole: bool
    rows: dict[str, int]
    totals: dict[str, str]
    """As the rows add up, not as the manifest says."""
    differences: list[Difference]

    def to_json(self) -> bytes:
        """Return the report as it is stored."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def file_of(name: str, rows: Iterable[Sequence[Any]]) -> tuple[bytes, FileEntry]:
    """Return one file of the folder and its entry in the manifest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS[name])
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    content = text.getvalue().encode()
    return content, FileEntry(name, sha256(content).hexdigest(), count)


def manifest_text(manifest: Manifest) -> bytes:
    """Return a manifest as it is stored."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def reconcile(read: Callable[[str], bytes | None], catalogue: Catalogue) -> Reconciliation:
    """Check a folder from its bytes alone: `read` returns a file's content by name, None for one that is not there."""
    return _Check(read, catalogue).run()


class _Check:
    def __init__(self, read: Callable[[str], bytes | None], catalogue: Catalogue) -> None:
        self._read, self._catalogue = read, catalogue
        self._differences: list[Difference] = []
        self._count = 0
        self._accounts: set[str] = set()
        self._sums: dict[str, int] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._rows: dict[str, int] = {}

    def run(self) -> Reconciliation:
        manifest = self._manifest()
        if manifest is not None:
            for name in (ACCOUNTS, BALANCES, ORDERS):
                self._file(name, manifest)
            totals = self._totals()
            for asset in sorted({*totals, *manifest.totals}):
                self._same(f"total of {asset}", manifest.totals.get(asset, "none"), totals.get(asset, "none"))
        return Reconciliation(
            hand_over_id=manifest.hand_over_id if manifest else "",
            is_zero=self._count == 0,
            is_whole=self._count <= DIFFERENCES_MAX,
            rows=self._rows,
            totals=self._totals(),
            differences=self._differences,
        )

    def _manifest(self) -> Manifest | None:
        content = self._read(MANIFEST)
        if content is None:
            self._differ(MANIFEST, "a file", "none")
            return None
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            self._differ(MANIFEST, f"a manifest of {SCHEMA}", str(error))
            return None
        if manifest.schema != SCHEMA:
            self._differ(f"{MANIFEST}: schema", SCHEMA, manifest.schema)
            return None
        self._same(f"{MANIFEST}: files", str(sorted(COLUMNS)), str(sorted(each.name for each in manifest.files)))
        return manifest

    def _file(self, name: str, manifest: Manifest) -> None:
        entry = next((each for each in manifest.files if each.name == name), None)
        content = self._read(name)
        if entry is None or content is None:
            self._differ(name, "a file that the manifest names", "none")
            return
        self._same(f"{name}: sha256", entry.sha256, sha256(content).hexdigest())
        try:
            reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
            header = tuple(next(reader, ()))
            self._same(f"{name}: columns", ",".join(COLUMNS[name]), ",".join(header))
            if header != COLUMNS[name]:
                return
            count = 0
            for row in reader:
                count += 1
                where = f"{name}: row {count}"
                if len(row) != len(header):
                    self._differ(where, f"{len(header)} fields", str(len(row)))
                    continue
                self._row(name, where, dict(zip(header, row, strict=True)))
        except (UnicodeDecodeError, csv.Error) as error:
            self._differ(name, "CSV in UTF-8", str(error))
            return
        self._rows[name] = count
        self._same(f"{name}: rows", str(entry.rows), str(count))

    def _row(self, name: str, where: str, row: dict[str, str]) -> None:
        if name == ACCOUNTS:
            self._account(where, row)
        elif row["account"] not in self._accounts:
            self._differ(f"{where}: account", f"one of {ACCOUNTS}", row["account"])
        elif name == BALANCES:
            self._balance(where, row)
        else:
            self._order(where, row)

    def _account(self, where: str, row: dict[str, str]) -> None:
        if not (row["account"].isascii() and row["account"].isdigit()) or row["account"].startswith("0"):
            self._differ(f"{where}: account", "a number of an account", row["account"])
        elif row["account"] in self._accounts:
            self._differ(f"{where}: account", "once", row["account"])
        if not row["name"]:
            self._differ(f"{where}: name", "a name", "nothing")
        if row["tier"] not in {tier.name for tier in self._catalogue.tiers}:
            self._differ(f"{where}: tier", "a tier of the catalogue", row["tier"])
        self._accounts.add(row["account"])

    def _balance(self, where: str, row: dict[str, str]) -> None:
        try:
            decimals = self._catalogue.asset(row["asset"]).decimals
            free, held = (parse_decimal(row[part], decimals) for part in ("free", "held"))
        except (CatalogueError, MoneyError) as error:
            self._differ(where, "an asset of the catalogue, and amounts within its decimals", str(error))
            return
        place = (row["account"], row["asset"])
        if place in self._held:
            self._differ(where, "one row for an account's asset", " ".join(place))
        self._held[place] = held
        self._sums[row["asset"]] = self._sums.get(row["asset"], 0) + free + held

    def _order(self, where: str, row: dict[str, str]) -> None:
        market = self._catalogue.market_by_symbol.get(row["symbol"])
        if market is None:
            self._differ(f"{where}: symbol", "a market of the catalogue", row["symbol"])
            return
        for field, words in (("side", SIDES), ("type", TYPES), ("time_in_force", TIMES_IN_FORCE)):
            if row[field] not in words:
                self._differ(f"{where}: {field}", " or ".join(words), row[field])
        decimals = self._catalogue.asset(market.base).decimals
        try:
            quantity, executed = (parse_decimal(row[part], decimals) for part in ("quantity", "executed"))
            for field in ("price", "stop_price"):
                if row[field]:
                    market.ticks(row[field])
        except (MoneyError, ValueError) as error:
            self._differ(where, "amounts within the market's steps", str(error))
            return
        if executed >= quantity:
            self._differ(f"{where}: executed", f"less than the quantity {row['quantity']}", row["executed"])

    def _totals(self) -> dict[str, str]:
        return {
            asset: format_decimal(amount, self._catalogue.asset(asset).decimals)
            for asset, amount in sorted(self._sums.items())
        }

    def _same(self, where: str, expected: str, found: str) -> None:
        if expected != found:
            self._differ(where, expected, found)

    def _differ(self, where: str, expected: str, found: str) -> None:
        self._count += 1
        if self._count <= DIFFERENCES_MAX:
            self._differences.append(Difference(where, expected, found))
