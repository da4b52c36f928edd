"""Settings of the gateways: what the templates declare, and one clear line for each mistake."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from config.markets import CATALOGUE
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limits import Limiter
from runtime.gateway.market_link import MarketLink
from runtime.gateway.parts import GatewaySettings, pulse, running
from runtime.shared.engine_link import EngineLink
from runtime.shared.settings import EXIT_BAD_SETTINGS, read_settings

GOOD = {
    "SERVICE": "rest",
    "LISTEN_HOST": "127.0.0.1",
    "LISTEN_PORT": "8080",
    "CATALOGUE_PARAMETER": "/dev/catalogue",
    "ENGINE_ADDRESS": "engine.bursa.internal:7001",
    "MARKET_DATA_ADDRESS": "market-data.bursa.internal:7002",
    "DATABASE_URL": "postgresql://ledger_reader@database.internal:7432/bursa",
    "API_KEY_TABLE": "keys",
    "VALKEY_URL": "rediss://gateways@cache:6379",
    "VALKEY_CACHE": "cache",
}


def settings(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> GatewaySettings:
    for name, value in {**GOOD, **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return read_settings(GatewaySettings)


def test_what_the_templates_declare_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(monkeypatch)
    assert (read.trusted_proxy, read.limits.weight_per_minute) == ("", 6_000)
    assert settings(monkeypatch, REQUEST_WEIGHT_PER_MINUTE="50").limits.weight_per_minute == 50


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ENGINE_ADDRESS": None}, "environment variable ENGINE_ADDRESS is missing"),
        ({"ENGINE_ADDRESS": "engine"}, "environment variable ENGINE_ADDRESS: "),
        ({"VALKEY_URL": "cache:6379"}, "environment variable VALKEY_URL: "),
        ({"VALKEY_URL": "redis://gateways@cache:6379"}, "environment variable VALKEY_URL: "),
        ({"VALKEY_URL": "rediss://gateways:secret@cache:6379"}, "environment variable VALKEY_URL: "),
        ({"VALKEY_CACHE": None}, "environment variable VALKEY_CACHE is missing"),
        ({"LISTEN_PORT": "0"}, "environment variable LISTEN_PORT: "),
        ({"MARKET_DATA_ADDRESS": GOOD["ENGINE_ADDRESS"]}, "they are two services"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], words: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings(monkeypatch, **changes)
    assert caught.value.code == EXIT_BAD_SETTINGS
    assert words in capsys.readouterr().err


async def _broken() -> None:
    raise ValueError("no such market")


async def _over() -> None:
    pass


@pytest.mark.parametrize(("work", "kind"), [(_broken, ValueError), (_over, RuntimeError)])
def test_a_background_task_that_ends_takes_the_service_with_it(
    work: Callable[[], Coroutine[object, object, None]], kind: type[Exception]
) -> None:
    async def service() -> None:
        async with running(work()):
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(service(), 5))
    assert [type(each) for each in caught.value.exceptions] == [kind]


def test_background_tasks_end_with_the_service() -> None:
    async def service() -> None:
        async with running(asyncio.Event().wait()):  # type: ignore[arg-type]
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(service())


@pytest.mark.parametrize(("engine", "market", "cut_off"), [(True, True, 0), (False, True, 1), (True, False, 1)])
def test_the_pulse_tells_whether_engine_and_market_data_can_be_reached(
    *, engine: bool, market: bool, cut_off: int
) -> None:
    links = EngineLink("engine:7001"), MarketLink("market-data:7002")
    links[0].connected, links[1].connected = engine, market
    assert pulse(Limiter(LimitSettings(), CATALOGUE), *links) == {"limits_alone": 0, "cut_off": cut_off}
