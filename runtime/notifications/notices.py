"""What a customer is told about an event, in Indonesian and English. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.shared.business_events import (
    AccountClosed,
    AccountEvent,
    AccountOpened,
    BusinessEvent,
    CredentialsChanged,
    DepositCredited,
    WithdrawalDecided,
    WithdrawalRequested,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message to the holder of one account. It names no person, no address and no amount: those are in the app."""

    account_id: int
    kind: str
    subject: str
    text: str


_TEXTS: Final[Mapping[type[BusinessEvent], tuple[str, str]]] = {
    AccountOpened: (
        "Akun Anda siap / Your account is open",
        "Akun Anda telah dibuka.\nYour account has been opened.",
    ),
    AccountClosed: (
        "Akun Anda ditutup / Your account is closed",
        "Akun Anda telah ditutup; laporan akhir tersedia.\nYour account is closed; the final statement is available.",
    ),
    CredentialsChanged: (
        "Kredensial diubah / Credentials changed",
        (
            "Kredensial akun Anda diubah dan penarikan ditunda sementara. Jika bukan Anda, hubungi kami.\n"
            "Credentials of your account changed and withdrawals wait for a while. If this was not you, contact us."
        ),
    ),
    DepositCredited: (
        "Setoran diterima / Deposit received",
        "Setoran telah masuk ke saldo Anda.\nA deposit is in your balance.",
    ),
    WithdrawalRequested: (
        "Permintaan penarikan / Withdrawal requested",
        (
            "Kami menerima permintaan penarikan dari akun Anda. Jika bukan Anda, hubungi kami segera.\n"
            "We received a request to withdraw from your account. If this was not you, contact us at once."
        ),
    ),
    WithdrawalDecided: (
        "Penarikan diperbarui / Withdrawal updated",
        "Status penarikan Anda berubah; lihat aplikasi.\nYour withdrawal has a new status; see the app.",
    ),
}
TOLD: Final = tuple(_TEXTS)
"""The events that customers hear of."""


def notice_for(event: BusinessEvent) -> Notice:
    """Return what the customer concerned is told. Raises KeyError for an event outside TOLD."""
    subject, text = _TEXTS[type(event)]
    assert isinstance(event, AccountEvent)
    return Notice(account_id=event.account_id, kind=event.detail_type, subject=subject, text=text)
