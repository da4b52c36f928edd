"""The sidecar's answers about itself: whether it looks at its node and believes it; and what it passes on."""

import asyncio
import json
import threading
import time
from typing import Any, cast

from starlette.requests import Request

from local.simulated_chain import CHAIN_ID, GENESIS, Chain, serve
from runtime.chain.rpc import REFUSED
from runtime.chain.sidecar import STALE_S, Sidecar, SidecarSettings

REQUEST = cast(Request, None)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def silent_node(**change: Any) -> SidecarSettings:
    """Return settings that point at a node which answers nothing."""
    return SidecarSettings(
        service="node",
        listen_port=8600,
        chain="bitcoin",
        node_address="127.0.0.1:1",
        network="main",
        genesis="00" * 32,
        **change,
    )


def answers(sidecar: Sidecar) -> tuple[int, int]:
    async def both() -> tuple[int, int]:
        return (await sidecar.alive(REQUEST)).status_code, (await sidecar.health(REQUEST)).status_code

    return asyncio.run(both())


def test_a_node_that_syncs_is_not_believed_and_its_host_is_kept() -> None:
    sidecar = Sidecar(silent_node(), clock=Clock())
    asyncio.run(sidecar.look())
    assert answers(sidecar) == (200, 503)


def test_a_sidecar_that_looks_no_more_needs_a_new_host() -> None:
    clock = Clock()
    sidecar = Sidecar(silent_node(), clock=clock)
    assert answers(sidecar) == (503, 503), "not looked yet"
    asyncio.run(sidecar.look())
    clock.now += STALE_S + 1
    assert answers(sidecar) == (503, 503)


def asked(sidecar: Sidecar, method: str, *params: object) -> dict[str, Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"id": 1, "method": method, "params": params}).encode()}

    answer = asyncio.run(sidecar.relay(Request({"type": "http", "method": "POST", "headers": []}, receive)))
    found: dict[str, Any] = json.loads(bytes(answer.body))
    return found


def test_a_nodes_own_refusal_is_told_from_a_sidecar_that_does_not_believe_it() -> None:
    """A refused transaction is a matter for people; a node that syncs is only away."""
    chain = Chain()
    chain.mine(4)
    server = serve(chain, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    settings = SidecarSettings(
        service="node",
        listen_port=8600,
        chain="ethereum",
        node_address=address,
        consensus_address=address,
        network=str(CHAIN_ID),
        genesis=GENESIS.hash,
    )
    sidecar = Sidecar(settings, clock=time.time)
    try:
        assert asked(sidecar, "eth_sendRawTransaction", "0x02c0")["error"]["code"] == -32000
        asyncio.run(sidecar.look())
        assert sidecar.faults == []
        refused = asked(sidecar, "eth_sendRawTransaction", "0x02c0")["error"]
        assert refused["code"] == REFUSED
        assert refused["message"].startswith("invalid transaction")
        assert asked(sidecar, "eth_getTransactionByHash", "0x00")["result"] is None
        assert asked(sidecar, "sim_mine")["error"]["code"] == -32601
    finally:
        server.shutdown()
        server.server_close()
    assert asked(sidecar, "eth_blockNumber")["error"]["code"] == -32000, "away, and not refused"
