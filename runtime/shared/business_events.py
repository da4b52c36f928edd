"""The catalogue of business events: what each says, and the one way to put it on the bus and to read it there.

A consumer gets each event at least once and in any order; `event_id` is the same in every delivery, and follows from
what happened, so that publishing twice is harmless as well. Events name customers by account id, never by name or
address: a consumer that may know more looks it up. Amounts are integers in the smallest unit of the asset, as decimal
text, since JSON readers elsewhere would round them.

Fields are only ever added, with a default. What would break a reader becomes a new event with a new name.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import boto3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

ENTRY_BYTES_MAX: Final = 256 * 1024
"""What EventBridge takes in one request."""
Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,37})$")]
"""Units of an asset, more than or equal to zero."""
AssetName = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,40}$")]
Account = Annotated[int, Field(ge=0, lt=2**63)]


class EventError(ValueError):
    """What lies on the bus is not an event of this catalogue."""


class BusinessEvent(BaseModel):
    """Something that has happened. Subclasses name their source and detail type once and for all."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    source: ClassVar[str]
    detail_type: ClassVar[str]

    event_id: Identifier
    at_us: Annotated[int, Field(ge=0)]
    """When it happened, microseconds since 1970."""


class AccountEvent(BusinessEvent):
    """Something that concerns one account."""

    account_id: Account


class AccountOpened(AccountEvent):
    """A customer can trade."""

    source = "bursa.accounts"
    detail_type = "account.opened"
    tier: Identifier


class AccountClosed(AccountEvent):
    """A customer has left: balances are zero and files are kept until `retain_until`."""

    source = "bursa.accounts"
    detail_type = "account.closed"
    retain_until: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class ClosureChanged(AccountEvent):
    """The closure of an account waits for approvals, has frozen the account, or was refused."""

    source = "bursa.offboarding"
    detail_type = "closure.changed"
    closure_id: Identifier
    state: Literal["waiting", "frozen", "refused"]


class HandOverChanged(BusinessEvent):
    """The hand-over of all accounts to another trader waits for approvals, was written, or was refused."""

    source = "bursa.offboarding"
    detail_type = "hand-over.changed"
    hand_over_id: Identifier
    state: Literal["waiting", "exported", "refused"]
    location: Annotated[str, Field(max_length=1024)] = ""
    """Of an exported one: where its manifest lies."""


class ApplicationReceived(BusinessEvent):
    """Somebody wants to become a customer."""

    source = "bursa.onboarding"
    detail_type = "application.received"
    application_id: Identifier


class KycRequested(BusinessEvent):
    """The KYC partner is asked to verify an applicant, whom it knows by the application's id alone."""

    source = "bursa.onboarding"
    detail_type = "kyc.requested"
    application_id: Identifier


class PartnerAnswered(BusinessEvent):
    """A partner told us by a signed webhook how something ended that we had asked it for."""

    source = "bursa.connectors"
    detail_type = "partner.answered"
    partner: Literal["kyc", "bank", "screening"]
    subject: Identifier
    """What the answer is about: the id that we had given to the partner."""
    outcome: Identifier
    """In the partner's words; whoever asked decides what they mean."""


class PayoutRequested(BusinessEvent):
    """The bank is asked to pay out a withdrawal whose destination it has on file."""

    source = "bursa.withdrawals"
    detail_type = "payout.requested"
    withdrawal_id: Identifier
    asset: AssetName
    amount: Amount


class AddressScreeningRequested(BusinessEvent):
    """The chain-analysis partner is asked what it knows of an address on a chain."""

    source = "bursa.withdrawals"
    detail_type = "address.screening-requested"
    screening_id: Identifier
    chain: Identifier
    address: Identifier


class KycDecided(BusinessEvent):
    """An application or a periodic review ended."""

    source = "bursa.onboarding"
    detail_type = "kyc.decided"
    application_id: Identifier
    decision: Literal["approved", "refused"]
    tier: Identifier | None = None
    """The tier of an approved applicant."""
    reasons: tuple[Identifier, ...] = ()
    """Why not: codes, never what the applicant wrote."""


class CredentialsChanged(AccountEvent):
    """Password, second factor or contact of a customer changed: withdrawals wait until `locked_until_us`."""

    source = "bursa.onboarding"
    detail_type = "credentials.changed"
    what: Literal["password", "mfa", "email", "phone"]
    locked_until_us: Annotated[int, Field(ge=0)]


class DepositCredited(AccountEvent):
    """Money or coins arrived and are in the customer's balance."""

    source = "bursa.deposits"
    detail_type = "deposit.credited"
    asset: AssetName
    amount: Amount
    reference: Identifier


class DepositEvent(AccountEvent):
    """Something that concerns one deposit. `amount` is what the account gets, or would."""

    asset: AssetName
    amount: Amount
    deposit_id: Identifier
    """Chain and place in it: the same for as long as the deposit exists."""


class DepositSeen(DepositEvent):
    """Coins for a customer are in a block that is not deep enough yet."""

    source = "bursa.deposits"
    detail_type = "deposit.seen"


class DepositReversed(DepositEvent):
    """The block of a deposit left the chain: before it was credited, or after, when the account's case is open."""

    source = "bursa.deposits"
    detail_type = "deposit.reversed"
    credited: bool


class ChainDisagreed(BusinessEvent):
    """Our nodes of one chain hold different blocks at the same height: nothing is credited until they agree."""

    source = "bursa.nodes"
    detail_type = "chain.disagreed"
    chain: Identifier
    height: Annotated[int, Field(ge=0)]
    nodes: tuple[Identifier, ...]


class WithdrawalRequested(AccountEvent):
    """A customer wants money or coins out."""

    source = "bursa.withdrawals"
    detail_type = "withdrawal.requested"
    withdrawal_id: Identifier
    asset: AssetName
    amount: Amount


class WithdrawalDecided(AccountEvent):
    """A withdrawal went further or came to its end."""

    source = "bursa.withdrawals"
    detail_type = "withdrawal.decided"
    withdrawal_id: Identifier
    asset: AssetName
    amount: Amount
    decision: Literal["waiting", "approved", "signed", "sent", "final", "refused"]
    reasons: tuple[Identifier, ...] = ()


class MarketStatusChanged(BusinessEvent):
    """A market, or with symbol `ALL` every market, was halted, opened or put into cancel-only."""

    source = "bursa.controls"
    detail_type = "market.status-changed"
    symbol: Symbol
    status: Literal["trading", "halt", "cancel-only"]
    reason: Identifier


class ControlChanged(BusinessEvent):
    """A market control waits for operators to approve it, or was carried out."""

    source = "bursa.controls"
    detail_type = "control.changed"
    control_id: Identifier
    kind: Literal["status", "limits", "withdrawals"]
    state: Literal["waiting", "done"]
    symbol: Symbol | None = None
    """A market, or `ALL`; none for withdrawals."""


class CaseOpened(BusinessEvent):
    """Surveillance, reconciliation or security found something that a person has to look at."""

    source = "bursa.cases"
    detail_type = "case.opened"
    case_id: Identifier
    kind: Identifier
    severity: Literal["low", "medium", "high", "critical"]
    account_ids: tuple[Account, ...] = ()
    symbol: Symbol | None = None
    evidence: Annotated[str, Field(max_length=1024)] = ""
    """Where the evidence lies, such as an S3 URI."""


class PriceNotice(BusinessEvent):
    """A price moved so far within minutes that customers are told of it."""

    source = "bursa.market-data"
    detail_type = "price.notice"
    symbol: Symbol
    from_ticks: Annotated[int, Field(gt=0)]
    to_ticks: Annotated[int, Field(gt=0)]
    window_s: Annotated[int, Field(gt=0)]


class ReferencePriceStopped(BusinessEvent):
    """Too few fresh sources agree on the price of a symbol; its bands no longer follow the world."""

    source = "bursa.price-feed"
    detail_type = "reference-price.stopped"
    symbol: Symbol
    reason: Identifier


class ReportFiled(BusinessEvent):
    """A report for an authority, the bourse or the clearing house is complete and stored."""

    source = "bursa.reporting"
    detail_type = "report.filed"
    report: Identifier
    period: Identifier
    location: Annotated[str, Field(min_length=1, max_length=1024)]


EVENTS: Final[tuple[type[BusinessEvent], ...]] = (
    AccountOpened,
    AccountClosed,
    ClosureChanged,
    HandOverChanged,
    ApplicationReceived,
    KycRequested,
    PartnerAnswered,
    PayoutRequested,
    AddressScreeningRequested,
    KycDecided,
    CredentialsChanged,
    DepositCredited,
    DepositSeen,
    DepositReversed,
    ChainDisagreed,
    WithdrawalRequested,
    WithdrawalDecided,
    MarketStatusChanged,
    ControlChanged,
    CaseOpened,
    PriceNotice,
    ReferencePriceStopped,
    ReportFiled,
)
"""Every event there is; the schemas in the registry are made from this list."""
_BY_TYPE: Final = {(event.source, event.detail_type): event for event in EVENTS}


def draft4_schema(event: type[BusinessEvent]) -> dict[str, Any]:
    """Return the JSON schema of an event's detail in draft 4, the draft that the registry of EventBridge takes.

    Raises ValueError where draft 4 cannot say what the model says.
    """
    schema: dict[str, Any] = _as_draft4(event.model_json_schema())
    return {"$schema": "http://json-schema.org/draft-04/schema#", **schema}


def _as_draft4(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Rewrite what draft 4 spells otherwise: exclusive limits, constants, definitions."""
    if isinstance(node, list):
        return [_as_draft4(item) for item in node]
    if not isinstance(node, dict):
        return node
    if unknown := node.keys() & {"prefixItems", "if", "$defs", "contains"}:
        raise ValueError(f"draft 4 has no {', '.join(sorted(unknown))}")
    plain = {name: _as_draft4(value) for name, value in node.items()}
    for ours, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if ours in plain:
            plain[limit], plain[ours] = plain[ours], True
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    return plain


def read_event(envelope: Mapping[str, Any]) -> BusinessEvent:
    """Return the business event that EventBridge delivers in `envelope`. Raises EventError naming the wrong field."""
    name = (str(envelope.get("source")), str(envelope.get("detail-type")))
    kind = _BY_TYPE.get(name)
    if kind is None:
        raise EventError(f"no event {name[1]!r} from {name[0]!r} in the catalogue")
    try:
        return kind.model_validate(envelope.get("detail"))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "detail"
        raise EventError(f"{kind.detail_type}: {where}: {problem['msg']}") from None


class NotPublishedError(RuntimeError):
    """EventBridge did not take an event; the caller must try again."""


class EventPublisher:
    """Puts events on one bus."""

    def __init__(self, bus: str, client: Any = None) -> None:  # noqa: ANN401 - boto3's client
        """Publish on `bus`, a name or an ARN."""
        self._bus = bus
        self._client = client or boto3.client("events")

    def publish(self, event: BusinessEvent) -> None:
        """Put one event on the bus. Raises NotPublishedError, and botocore's errors."""
        entry = {
            "EventBusName": self._bus,
            "Source": event.source,
            "DetailType": event.detail_type,
            "Detail": event.model_dump_json(),
        }
        answer = self._client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            failed = answer["Entries"][0]
            raise NotPublishedError(f"{event.detail_type} {event.event_id}: {failed.get('ErrorCode')}")
