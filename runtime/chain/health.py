"""Whether a node can be believed. Pure. Whatever is not known counts as unhealthy, and every reason is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BITCOIN_BEHIND_MAX: Final = 2
BITCOIN_TIP_AGE_MAX_S: Final = 90 * 60
BITCOIN_PEERS_MIN: Final = 8
ETHEREUM_HEAD_AGE_MAX_S: Final = 60
ETHEREUM_SYNC_DISTANCE_MAX: Final = 2
ETHEREUM_FINALIZED_AGE_MAX_S: Final = 30 * 60
QUORUM: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BitcoinState:
    """What a Bitcoin node says of itself; None is what it did not say."""

    chain: str | None = None
    genesis: str | None = None
    initial_download: bool | None = None
    headers: int | None = None
    blocks: int | None = None
    tip_time_s: int | None = None
    outbound_peers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EthereumState:
    """What an execution client and its consensus client say; None is what they did not say."""

    chain_id: int | None = None
    genesis: str | None = None
    head_time_s: int | None = None
    finalized_time_s: int | None = None
    consensus_syncing: bool | None = None
    execution_offline: bool | None = None
    optimistic: bool | None = None
    sync_distance: int | None = None


def bitcoin_faults(state: BitcoinState, *, chain: str, genesis: str, now_s: int) -> list[str]:
    """Return why the node is not believed; empty when it is."""
    faults = [*_differs("chain", state.chain, chain), *_differs("genesis", state.genesis, genesis)]
    faults += _must_be("initial block download", state.initial_download, wanted=False)
    if state.headers is None or state.blocks is None:
        faults.append("headers or blocks unknown")
    elif not 0 <= state.headers - state.blocks <= BITCOIN_BEHIND_MAX:
        faults.append(f"{state.headers - state.blocks} blocks behind its headers, at most {BITCOIN_BEHIND_MAX}")
    faults += _too_old("tip", state.tip_time_s, now_s, BITCOIN_TIP_AGE_MAX_S)
    if state.outbound_peers is None or state.outbound_peers < BITCOIN_PEERS_MIN:
        faults.append(f"outbound peers: {_said(state.outbound_peers)}, at least {BITCOIN_PEERS_MIN}")
    return faults


def ethereum_faults(state: EthereumState, *, chain_id: int, genesis: str, now_s: int) -> list[str]:
    """Return why the node is not believed; empty when it is. `eth_syncing` is not asked: it can say false too soon."""
    faults = [*_differs("chain id", state.chain_id, chain_id), *_differs("genesis", state.genesis, genesis)]
    faults += _too_old("head", state.head_time_s, now_s, ETHEREUM_HEAD_AGE_MAX_S)
    faults += _too_old("finalized block", state.finalized_time_s, now_s, ETHEREUM_FINALIZED_AGE_MAX_S)
    faults += _must_be("consensus client syncing", state.consensus_syncing, wanted=False)
    faults += _must_be("execution client offline", state.execution_offline, wanted=False)
    faults += _must_be("optimistic head", state.optimistic, wanted=False)
    if state.sync_distance is None or not 0 <= state.sync_distance <= ETHEREUM_SYNC_DISTANCE_MAX:
        faults.append(f"sync distance: {_said(state.sync_distance)}, at most {ETHEREUM_SYNC_DISTANCE_MAX}")
    return faults


def agreed(hashes: Mapping[str, str | None]) -> str | None:
    """Return the block hash that QUORUM nodes give for one height and no node disputes; None when there is none.

    `hashes` is by node: our x86 and our Graviton build must see the same chain. A node that gives none has no vote.
    """
    given = [value for value in hashes.values() if value]
    return given[0] if len(given) >= QUORUM and len(set(given)) == 1 else None


def _differs(name: str, given: object, wanted: object) -> list[str]:
    return [] if given is not None and given == wanted else [f"{name} is {_said(given)}, must be {wanted}"]


def _must_be(name: str, given: bool | None, *, wanted: bool) -> list[str]:  # noqa: FBT001 - a value, not a switch
    return [] if given is wanted else [f"{name}: {_said(given)}"]


def _too_old(name: str, time_s: int | None, now_s: int, age_max_s: int) -> list[str]:
    """Return the fault of a time that is unknown, too old or, as wrong, far in the future."""
    if time_s is not None and abs(now_s - time_s) <= age_max_s:
        return []
    age = "unknown" if time_s is None else f"{now_s - time_s} s"
    return [f"{name}: age {age}, at most {age_max_s} s"]


def _said(value: object) -> str:
    return "unknown" if value is None else str(value)
