"""The sidecar's two answers about itself: whether it looks at its node, and whether it believes it."""

import asyncio
from typing import Any, cast

from starlette.requests import Request

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
