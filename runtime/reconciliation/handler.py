"""Lambda: every quarter of an hour, whether the wallets hold what the ledger owes, and in which tiers."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import boto3
import psycopg
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from runtime.chain.readers import AssetOnChain
from runtime.chain.rpc import Rpc
from runtime.chain.store import Deposits
from runtime.reconciliation.rules import COLD, HOT, TIERS, Terms, TierRule, lasting, short
from runtime.reconciliation.sources import Sources
from runtime.shared.business_events import BusinessEvent, CaseOpened, EventPublisher
from runtime.shared.functions import logger, tracer
from runtime.shared.gauges import emit
from runtime.shared.settings import database_conninfo, read_catalogue_parameter
from runtime.withdrawals.register import Register

ROUNDS: Final = 5
PAUSE_S: Final = 20
"""Between two rounds: longer than a step of a withdrawal, or the ledger's way behind the engine."""
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S


@tracer.capture_lambda_handler(capture_response=False)
def reconcile(_event: Mapping[str, Any], _context: LambdaContext) -> dict[str, list[dict[str, Any]]]:
    """Compare, note the result, and open a case for what does not match. Raises NodesApartError and as the stores.

    Environment: CHAIN, CHAIN_ASSETS, NODE_ADDRESSES; WALLETS, a JSON object of addresses by name; HOT_BIPS_MAX and
    COLD_BIPS_MIN; DATABASE_URL, CATALOGUE_PARAMETER, WITHDRAWAL_TABLE, DEPOSIT_TABLE, EVENT_BUS.
    """
    chain = os.environ["CHAIN"]
    with psycopg.connect(database_conninfo(os.environ["DATABASE_URL"]), autocommit=True) as connection:
        sources = Sources(
            chain=chain,
            assets=TypeAdapter(tuple[AssetOnChain, ...]).validate_json(os.environ["CHAIN_ASSETS"]),
            wallets=TypeAdapter(dict[str, str]).validate_json(os.environ["WALLETS"]),
            nodes=[Rpc(address) for address in os.environ["NODE_ADDRESSES"].split(",")],
            connection=connection,
            catalogue=read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"]),
            register=Register(os.environ["WITHDRAWAL_TABLE"]),
            deposits=Deposits(os.environ["DEPOSIT_TABLE"], chain, boto3.client("dynamodb")),
        )
        apart = compared(
            sources.read,
            tiers=TierRule(
                hot_bips_max=int(os.environ["HOT_BIPS_MAX"]), cold_bips_min=int(os.environ["COLD_BIPS_MIN"])
            ),
            publish=EventPublisher(os.environ["EVENT_BUS"]).publish,
            pause=time.sleep,
            now_s=int(time.time()),
        )
    return {"apart": [{"asset": each.asset, "difference": str(each.difference)} for each in apart]}


def compared(
    read: Callable[[], Sequence[Terms]],
    *,
    tiers: TierRule,
    publish: Callable[[BusinessEvent], None],
    pause: Callable[[float], None],
    now_s: int,
) -> list[Terms]:
    """Return the differences that last, each logged and told, as are reserves that are short; alarms read the log.

    The first round without a difference ends it. Of an asset, one case a day of a difference and one an hour of
    reserves that are short, however long it lasts.
    """
    rounds = [read()]
    while any(each.difference for each in rounds[-1]) and len(rounds) < ROUNDS:
        pause(PAUSE_S)
        rounds.append(read())
    apart, too_few = lasting(rounds), short(rounds)
    for terms in apart:
        logger.error("the ledger and the chain are apart", **_told(terms))
        name = f"ledger-apart/{terms.asset}/{now_s // _DAY_S}"
        publish(
            CaseOpened(
                event_id=name,
                at_us=now_s * 1_000_000,
                case_id=name,
                kind="ledger-apart",
                severity="high",
                evidence=json.dumps(_told(terms)),
            )
        )
    for terms in rounds[-1]:
        if terms.reserve_ppm is not None:
            emit({"ReservePpm": terms.reserve_ppm}, Asset=terms.asset)
    for terms in too_few:
        logger.error("the reserves are short", **_told(terms))
        publish(_short_case(terms, now_s))
    too_hot, not_cold = _spread(rounds[-1], tiers)
    logger.info(
        "reconciled",
        assets_apart=len(apart),
        reserves_short=len(too_few),
        assets_too_hot=too_hot,
        assets_not_cold=not_cold,
        rounds=len(rounds),
        height=rounds[-1][0].height,
    )
    return apart


def _spread(found: Sequence[Terms], rule: TierRule) -> tuple[int, int]:
    """Tell how each asset is spread over the tiers; return how many are too hot, and how many not cold enough."""
    for terms in found:
        shares = {tier: share for tier in TIERS if (share := terms.share_bips(tier)) is not None}
        for tier, share in shares.items():
            emit({"TierShareBips": share}, Asset=terms.asset, Tier=tier)
        held: dict[str, Any] = {tier: str(amount) for tier, amount in terms.by_tier.items()}
        if rule.is_too_hot(terms):
            logger.warning("hot wallets hold too much", asset=terms.asset, share_bips=shares[HOT], **held)
        if rule.is_not_cold(terms):
            logger.warning("cold wallets hold too little", asset=terms.asset, share_bips=shares[COLD], **held)
    return sum(map(rule.is_too_hot, found)), sum(map(rule.is_not_cold, found))


def _short_case(terms: Terms, now_s: int) -> CaseOpened:
    """Return the case of an asset that is short: the same one, by its id, within an hour."""
    name = f"reserve-short/{terms.asset}/{now_s // _HOUR_S}"
    return CaseOpened(
        event_id=name,
        at_us=now_s * 1_000_000,
        case_id=name,
        kind="reserve-short",
        severity="critical",
        evidence=json.dumps(_told(terms)),
    )


def _told(terms: Terms) -> dict[str, Any]:
    """Return the terms for people: whole numbers as text, since JSON's readers round large ones."""
    return {
        "asset": terms.asset,
        "height": terms.height,
        "difference": str(terms.difference),
        "on_chain": str(terms.on_chain),
        "in_ledger": str(terms.in_ledger),
        "uncredited": str(terms.uncredited),
        "unsettled": str(terms.unsettled),
        "network_fees": str(terms.network_fees),
        "owed": str(terms.owed),
    }
