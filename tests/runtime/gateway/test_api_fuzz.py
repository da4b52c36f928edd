"""Whatever the documents allow, and much that they do not, is answered as they say: no 5xx, no undocumented code."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from runtime.gateway.api_documents import openapi
from runtime.gateway.errors import CODES
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.rest import RestApi, server
from tests.runtime.gateway.world import World, now_ms
from tests.soak import seeds

TIMEOUT_S = 10.0
CASES = 5_000
SIGNED = ("timestamp", "recvWindow", "signature")
INTERNAL = 500


class Served:
    """A REST API on a port of its own, in a thread of its own, with no limit on requests."""

    def __init__(self) -> None:
        self.world = World(LimitSettings(weight_per_minute=10**12))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.session = requests.Session()
        self._serving = server(RestApi(self.world.exchange), 100)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serving.serve(sockets=[self.listening])))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self._serving.should_exit = True
        self._thread.join(TIMEOUT_S)

    def ask(self, case: Any) -> requests.Response:
        """Send a case as a client would: what has to be signed is signed, freshly, over what else the case says."""
        query = {name: value for name, value in (case.query or {}).items() if name not in SIGNED}
        headers = {}
        text = urlencode(query, doseq=True)
        if case.operation.definition.raw["security"]:
            ana = self.world.ana
            headers["X-MBX-APIKEY"] = ana.api_key
            text = "&".join(part for part in (text, f"timestamp={now_ms()}") if part)
            text += f"&signature={ana.sign(text.encode())}"
        url = f"{self.url}{case.path}?{text}"
        return self.session.request(case.method, url, headers=headers, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as running:
        yield running


def check(response: requests.Response) -> None:
    assert response.status_code < INTERNAL, response.text
    body = response.json()
    if not response.ok:
        assert body["code"] in CODES
        assert body["msg"]


def cases(examples: int) -> Any:
    """Return a test of `examples` cases over all operations, right and wrong ones."""
    schema = schemathesis.openapi.from_dict(openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    strategies = [
        operation.as_strategy(generation_mode=mode) for operation in operations for mode in schemathesis.GenerationMode
    ]

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @given(case=st.one_of(strategies))
    def every_case(served: Served, case: Any) -> None:
        check(served.ask(case))

    return every_case


def test_some_cases(served: Served) -> None:
    cases(60)(served)


@pytest.mark.soak
def test_many_cases(served: Served) -> None:
    for number in seeds(0.05):
        seed(number)(cases(CASES))(served)
