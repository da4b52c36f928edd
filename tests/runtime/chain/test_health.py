"""Unknown is unhealthy, and one wrong answer suffices."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.chain.health import BitcoinState, EthereumState, agreed, bitcoin_faults, ethereum_faults

NOW = 1_800_000_000
BITCOIN = BitcoinState(
    chain="main",
    genesis="00aa",
    initial_download=False,
    headers=900,
    blocks=899,
    tip_time_s=NOW - 600,
    outbound_peers=8,
)
ETHEREUM = EthereumState(
    chain_id=1,
    genesis="d4e5",
    head_time_s=NOW - 12,
    finalized_time_s=NOW - 800,
    consensus_syncing=False,
    execution_offline=False,
    optimistic=False,
    sync_distance=1,
)


def faults(state: BitcoinState | EthereumState) -> list[str]:
    if isinstance(state, BitcoinState):
        return bitcoin_faults(state, chain="main", genesis="00aa", now_s=NOW)
    return ethereum_faults(state, chain_id=1, genesis="d4e5", now_s=NOW)


@pytest.mark.parametrize("state", [BITCOIN, ETHEREUM])
def test_a_good_node_is_healthy_and_one_that_leaves_anything_out_is_not(state: Any) -> None:
    assert faults(state) == []
    for field in fields(state):
        assert len(faults(replace(state, **{field.name: None}))) == 1, field.name
    assert len(faults(type(state)())) == len(fields(state)) - isinstance(state, BitcoinState)


@pytest.mark.parametrize(
    ("state", "change", "fault"),
    [
        (BITCOIN, {"chain": "test"}, "chain is test, must be main"),
        (BITCOIN, {"genesis": "00ab"}, "genesis is 00ab"),
        (BITCOIN, {"initial_download": True}, "initial block download: True"),
        (BITCOIN, {"blocks": 897}, "3 blocks behind"),
        (BITCOIN, {"blocks": 901}, "-1 blocks behind"),
        (BITCOIN, {"tip_time_s": NOW - 5401}, "tip: age 5401 s"),
        (BITCOIN, {"tip_time_s": NOW + 5401}, "tip: age -5401 s"),
        (BITCOIN, {"outbound_peers": 7}, "outbound peers: 7"),
        (ETHEREUM, {"chain_id": 5}, "chain id is 5"),
        (ETHEREUM, {"head_time_s": NOW - 61}, "head: age 61 s"),
        (ETHEREUM, {"finalized_time_s": NOW - 1801}, "finalized block: age 1801 s"),
        (ETHEREUM, {"consensus_syncing": True}, "syncing: True"),
        (ETHEREUM, {"execution_offline": True}, "offline: True"),
        (ETHEREUM, {"optimistic": True}, "optimistic head: True"),
        (ETHEREUM, {"sync_distance": 3}, "sync distance: 3"),
    ],
)
def test_each_fault_is_told(state: Any, change: dict[str, Any], fault: str) -> None:
    (told,) = faults(replace(state, **change))
    assert fault in told


@given(st.dictionaries(st.sampled_from(["x86", "graviton", "third"]), st.sampled_from(["aa", "bb", None])))
def test_nodes_agree_only_when_two_say_the_same_and_none_says_otherwise(hashes: dict[str, str | None]) -> None:
    votes = [value for value in hashes.values() if value]
    found = agreed(hashes)
    if found is None:
        assert len(votes) < 2 or len(set(votes)) > 1
    else:
        assert set(votes) == {found}
        assert len(votes) >= 2
