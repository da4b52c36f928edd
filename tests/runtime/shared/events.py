"""One event of each kind in the catalogue, with every field filled."""

from runtime.shared.business_events import (
    AccountClosed,
    AccountOpened,
    AddressScreeningRequested,
    ApplicationReceived,
    BusinessEvent,
    CaseOpened,
    ChainDisagreed,
    ClosureChanged,
    ControlChanged,
    CredentialsChanged,
    DepositCredited,
    DepositReversed,
    DepositSeen,
    HandOverChanged,
    KycDecided,
    KycRequested,
    MarketStatusChanged,
    PartnerAnswered,
    PayoutRequested,
    PriceNotice,
    ReferencePriceStopped,
    ReportFiled,
    WithdrawalDecided,
    WithdrawalRequested,
)

_WHEN = {"event_id": "e/1", "at_us": 1_800_000_000_000_000}
_MONEY = {"asset": "BTC", "amount": "100000000"}

SAMPLES: tuple[BusinessEvent, ...] = tuple(
    kind.model_validate(_WHEN | fields)
    for kind, fields in (
        (AccountOpened, {"account_id": 7, "tier": "standard"}),
        (AccountClosed, {"account_id": 7, "retain_until": "2036-11-25"}),
        (ClosureChanged, {"account_id": 7, "closure_id": "c1", "state": "waiting"}),
        (HandOverChanged, {"hand_over_id": "h1", "state": "exported", "location": "s3://bucket/manifest.json"}),
        (ApplicationReceived, {"application_id": "a1"}),
        (KycRequested, {"application_id": "a1"}),
        (PartnerAnswered, {"partner": "kyc", "subject": "a1", "outcome": "verified"}),
        (PartnerAnswered, {"partner": "bank", "subject": "w1", "outcome": "paid"}),
        (PartnerAnswered, {"partner": "screening", "subject": "s1", "outcome": "clean"}),
        (PayoutRequested, {"withdrawal_id": "w1", **_MONEY}),
        (AddressScreeningRequested, {"screening_id": "s1", "chain": "bitcoin", "address": "bc1qexample"}),
        (KycDecided, {"application_id": "a1", "decision": "refused", "tier": "standard", "reasons": ["under-age"]}),
        (CredentialsChanged, {"account_id": 7, "what": "mfa", "locked_until_us": 1_800_086_400_000_000}),
        (DepositCredited, {"account_id": 7, "reference": "d1", **_MONEY}),
        (DepositSeen, {"account_id": 7, "deposit_id": "ethereum/d1", **_MONEY}),
        (DepositReversed, {"account_id": 7, "deposit_id": "ethereum/d1", "credited": True, **_MONEY}),
        (ChainDisagreed, {"chain": "ethereum", "height": 7, "nodes": ["a", "b"]}),
        (WithdrawalRequested, {"withdrawal_id": "w1", "account_id": 7, **_MONEY}),
        (WithdrawalDecided, {"withdrawal_id": "w1", "account_id": 7, "decision": "sent", "reasons": [], **_MONEY}),
        (MarketStatusChanged, {"symbol": "BTCUSDT", "status": "halt", "reason": "price-move"}),
        (ControlChanged, {"control_id": "open-0001", "kind": "status", "state": "waiting", "symbol": "BTCUSDT"}),
        (
            CaseOpened,
            {
                "case_id": "c1",
                "kind": "wash-trade",
                "severity": "high",
                "account_ids": [7, 8],
                "symbol": "BTCUSDT",
                "evidence": "s3://evidence/c1",
            },
        ),
        (CaseOpened, {"case_id": "c2", "kind": "ledger-sum", "severity": "critical"}),
        (PriceNotice, {"symbol": "BTCUSDT", "from_ticks": 100, "to_ticks": 105, "window_s": 300}),
        (ReferencePriceStopped, {"symbol": "BTCUSDT", "reason": "stale"}),
        (ReportFiled, {"report": "trades", "period": "2026-11-25", "location": "s3://reports/trades-2026-11-25.csv"}),
        (ReportFiled, {"report": "suspicious-transactions", "period": "2026-11-25", "location": "s3://reports/x"}),
    )
)
