"""What the tests of controls work with."""

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.markets import CATALOGUE
from runtime.controls.approvals import approval_text, check
from runtime.controls.carrier import Carrier
from runtime.controls.register import Register
from runtime.controls.rules import control_of
from runtime.shared.business_events import BusinessEvent
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineUnavailableError
from runtime.shared.messages import (
    ALL_MARKETS,
    TRADING,
    Answered,
    AskMarket,
    Command,
    Configure,
    Done,
    MarketState,
    Question,
    Rejected,
    Replied,
    SetMarketStatus,
)
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import stored
from runtime.withdrawals.register import Register as WithdrawalRegister
from tests.runtime.custody.vault import APPROVERS, public

REGION = "ap-southeast-3"
NOW_S = 1_800_000_000
KEYS = tuple(public(key) for key in APPROVERS)
FIRST, SECOND, THIRD = APPROVERS
BTC, ETH = "BTCUSDT", "ETHUSDT"


class FakeEngine:
    """Keeps statuses and limits as the engine does; `is_away` takes it away."""

    def __init__(self) -> None:
        self.statuses = {market.id: TRADING for market in CATALOGUE.markets}
        self.sent: list[Command] = []
        self.is_away = False
        self.refuses = False
        self.before_reply: list[Any] = []

    async def send(self, command: Command) -> Replied:
        if self.is_away:
            raise EngineUnavailableError("away")
        self.sent.append(command)
        if self.refuses:
            return Replied(1, 1, 1, Rejected(1, "no"))
        if isinstance(command, SetMarketStatus):
            of = self.statuses if command.market == ALL_MARKETS else (command.market,)
            self.statuses |= dict.fromkeys(of, command.status)
        if self.before_reply:
            self.before_reply.pop()()
        return Replied(1, 1, 1, Done())

    async def ask(self, question: Question) -> Answered:
        if self.is_away:
            raise EngineUnavailableError("away")
        assert isinstance(question, AskMarket)
        return Answered(1, 1, MarketState(question.market, self.statuses[question.market], 0, 0, 0, [], []))

    def status(self, symbol: str) -> int:
        return self.statuses[CATALOGUE.market_by_symbol[symbol].id]

    @property
    def configured(self) -> list[Configure]:
        return [each for each in self.sent if isinstance(each, Configure)]


class Parameter:
    def __init__(self) -> None:
        self.catalogue: Catalogue = CATALOGUE

    def read(self) -> Catalogue:
        return self.catalogue

    def write(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue


class Desk:
    """Asks, signs and carries out as the handlers do."""

    def __init__(self, client: Any) -> None:
        self.register = Register("controls", client=client)
        self.withdrawals = WithdrawalRegister("withdrawals", client=client)
        self.engine, self.markets = FakeEngine(), Parameter()
        self.events: list[BusinessEvent] = []
        self.now_s = NOW_S

    @property
    def carrier(self) -> Carrier:
        return Carrier(
            register=self.register,
            engine=self.engine,
            markets=self.markets,
            withdrawals=self.withdrawals,
            publish=self.events.append,
            now_s=self.now_s,
        )

    def ask(self, name: str, kind: str, symbol: str = "", value: str = "", **limits: str | int) -> None:
        control = control_of(kind, symbol, value, limits, self.markets.read())
        fields = {"kind": kind, "symbol": control.symbol, "value": control.value, "reason": "a-test"}
        fields |= {"id": name, "asked_by": KEYS[2]}
        self.register.add(fields, control.settings(self.markets.read()), self.now_s)

    def alone(self, name: str, *asked: str) -> str:
        self.ask(name, *asked)
        return asyncio.run(self.carrier.alone(name))

    def sign(self, name: str, *keys: Ed25519PrivateKey, life_s: int = 600) -> None:
        for key in keys:
            expires = self.now_s + life_s
            signature = key.sign(approval_text(self.register.control(name), expires)).hex()
            given = Approval(public(key), expires, signature)
            check(self.register.control(name), given, KEYS, self.now_s)
            self.register.approve(name, public(key), stored(given))

    def approved(self, name: str) -> str:
        return asyncio.run(self.carrier.approved(name, KEYS))

    def watch(self) -> list[str]:
        return asyncio.run(self.carrier.watch())
