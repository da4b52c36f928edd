"""Carries controls out: tells the engine, and the register of withdrawals, the newest of what is wanted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, cast

from runtime.controls.approvals import NEEDED, valid
from runtime.controls.register import ASKED, DONE, TAKEN, Register, Wanted, control_in
from runtime.controls.rules import (
    ALL,
    HALTED,
    KINDS,
    LIMITS,
    OPEN,
    STATUS,
    STATUSES,
    WITHDRAWALS,
    ControlError,
    is_looser,
    with_limits,
)
from runtime.shared.business_events import BusinessEvent, CaseOpened, ControlChanged, MarketStatusChanged
from runtime.shared.catalogue import Catalogue, Market
from runtime.shared.messages import (
    ALL_MARKETS,
    RULES_NEWEST,
    Answered,
    AskMarket,
    Command,
    Configure,
    MarketState,
    Question,
    Rejected,
    Replied,
    SetMarketStatus,
)
from runtime.shared.request_table import StatusError

TURNS_MAX: Final = 10
"""How often a setting may change while it is told, before the step fails and comes again."""
AMISS: Final = "controls_amiss"
"""Field of the line that each look writes: 1 while something is looser than wanted and could not be mended, else 0."""
Kind = Literal["status", "limits", "withdrawals"]
Status = Literal["trading", "halt", "cancel-only"]


class NotApprovedError(RuntimeError):
    """Too few approvals count now; nothing is changed, whatever the caller says."""


class OvertakenError(RuntimeError):
    """Withdrawals were halted by themselves after it was asked to let them out: they stay halted."""


class EngineRefusedError(RuntimeError):
    """The engine does not take what is wanted; the message says why."""


class Engine(Protocol):
    """What an `EngineLink` does."""

    async def send(self, command: Command) -> Replied:
        """Have a command sequenced; return its reply."""

    async def ask(self, question: Question) -> Answered:
        """Return an answer."""


class Markets(Protocol):
    """Where the catalogue lies that engines read when they begin to lead."""

    def read(self) -> Catalogue:
        """Return it as it is now."""

    def write(self, catalogue: Catalogue) -> None:
        """Put another in its place."""


class Withdrawals(Protocol):
    """What stops withdrawals."""

    @property
    def is_halted(self) -> bool:
        """Whether all are halted."""

    def halt(self, reason: str, now_s: int) -> None:
        """Halt all."""

    def reopen(self, asked_at_s: int) -> None:
        """Let them out again, unless they were halted after `asked_at_s`. Raises StatusError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """What the steps work with. `now_s` is given, so that tests can choose it."""

    register: Register
    engine: Engine
    markets: Markets
    withdrawals: Withdrawals
    publish: Callable[[BusinessEvent], None]
    now_s: int

    async def approved(self, name: str, approvers: Sequence[str]) -> str:
        """Carry out a control that operators have approved. Raises NotApprovedError, StatusError and as the stores."""
        found = self.register.control(name)
        if found["status"] == ASKED:
            count = len(valid(found, approvers, self.now_s))
            if count < NEEDED:
                raise NotApprovedError(f"{NEEDED} approvals are needed, {count} count")
            self.register.take(name)
        return await self.carry(name)

    async def alone(self, name: str) -> str:
        """Carry out what makes things safer, and open a case, so that a second person hears of it afterwards.

        Raises StatusError where it would make nothing safer, and as the stores.
        """
        found = self.register.control(name)
        origins = control_in(found).alone_from
        if not origins:
            raise NotApprovedError(f"control {name} opens or moves a limit: {NEEDED} approvals are needed")
        self.register.take(name, origins)
        # Before the engine is asked: whoever has to hear of it does, even where the engine is away.
        self.publish(
            CaseOpened(
                event_id=f"control-alone/{name}",
                at_us=self.now_s * 1_000_000,
                case_id=f"control-alone/{name}",
                kind="control-alone",
                severity="high",
                symbol=found["symbol"] or None,
            )
        )
        return await self.carry(name)

    async def carry(self, name: str) -> str:
        """Tell what is wanted of each setting of a control that was taken: `done`, or `superseded` by later ones."""
        found = self.register.control(name)
        settings = list(json.loads(found["seen"]))
        rest = await self._tell_at_once(settings) if found["symbol"] == ALL else settings
        try:
            for setting in rest:
                await self._settle(setting)
        except OvertakenError:
            self.register.move(name, (TAKEN,), DONE, noted="superseded")
            return "superseded"
        if not any(self.register.wanted(setting).control == name for setting in settings):
            self.register.move(name, (TAKEN,), DONE, noted="superseded")
            return "superseded"
        if found["kind"] == STATUS:
            self.publish(
                MarketStatusChanged(
                    event_id=f"market-status/{name}",
                    at_us=self.now_s * 1_000_000,
                    symbol=found["symbol"],
                    status=cast(Status, found["value"]),
                    reason=found["reason"],
                )
            )
        self.publish(changed(found["id"], found["kind"], found["symbol"], "done", self.now_s))
        self.register.move(name, (TAKEN,), DONE)
        return "done"

    async def watch(self) -> list[str]:
        """Mend what is looser than it should be, or was never told; return the names of the settings mended.

        A step that died between two effects, an engine that was away, a sender that came late, a deployment that wrote
        its own limits: this finds them all. One setting that cannot be mended holds up no other: its error is raised
        when all were looked at. Raises at once what says that the engine is away, but only after the withdrawals.
        """
        mended: list[Wanted] = []
        failures: list[Exception] = []
        for setting in [WITHDRAWALS, *(f"{kind}#{one.symbol}" for kind in (STATUS, LIMITS) for one in self._markets)]:
            wanted = self.register.wanted(setting)
            try:
                if wanted.turn and await self._is_amiss(wanted):
                    await self._settle(setting)
                    mended.append(wanted)
            except OvertakenError:
                mended.append(wanted)
            except (EngineRefusedError, ControlError, StatusError) as error:
                failures.append(error)
        for name in dict.fromkeys(each.control for each in mended):
            if self.register.control(name)["status"] == TAKEN:
                await self.carry(name)
        if failures:
            raise ExceptionGroup("settings that stay other than wanted", failures)
        return [each.setting for each in mended]

    async def _is_amiss(self, wanted: Wanted) -> bool:
        """Tell whether a setting was not told, or is not as it was told."""
        kind, _, symbol = wanted.setting.partition("#")
        if not wanted.is_told:
            return True
        if kind == WITHDRAWALS:
            return wanted.value == HALTED and not self.withdrawals.is_halted
        catalogue = self.markets.read()
        if kind == LIMITS:
            return with_limits(catalogue, symbol, json.loads(wanted.value)) != catalogue
        state = (await self.engine.ask(AskMarket(catalogue.market_by_symbol[symbol].id))).answer
        return isinstance(state, MarketState) and is_looser(wanted.value, state.status)

    @property
    def _markets(self) -> tuple[Market, ...]:
        return tuple(self.markets.read().markets)

    async def _tell_at_once(self, settings: Sequence[str]) -> list[str]:
        """Tell every market the same by one command; return the settings that are still to be told one by one."""
        wanted = [self.register.wanted(setting) for setting in settings]
        if {each.setting for each in wanted} != {f"{STATUS}#{each.symbol}" for each in self.markets.read().markets}:
            return list(settings)  # a market came or went since it was asked for
        if len(values := {each.value for each in wanted}) != 1:
            return list(settings)
        await self._sent(SetMarketStatus(ALL_MARKETS, STATUSES[values.pop()]))
        return [each.setting for each in wanted if not self.register.tell(each)]

    async def _settle(self, setting: str) -> None:
        """Tell the newest turn of a setting, and again while it changes meanwhile: what is told last is the newest."""
        for _ in range(TURNS_MAX):
            wanted = self.register.wanted(setting)
            await self._tell(wanted)
            if self.register.tell(wanted):
                return
        raise StatusError(f"{setting} changed {TURNS_MAX} times while it was told; it is told again within a minute")

    async def _tell(self, wanted: Wanted) -> None:
        kind, _, symbol = wanted.setting.partition("#")
        assert kind in KINDS, wanted
        if kind == WITHDRAWALS:
            found = self.register.control(wanted.control)
            if wanted.value == OPEN:
                self._reopen(wanted, found["asked_at_s"])
            elif not self.withdrawals.is_halted:  # a halt keeps when it began
                self.withdrawals.halt(found["reason"], self.now_s)
        elif kind == LIMITS:
            await self._configure(symbol, wanted)
        else:
            market = self.markets.read().market_by_symbol[symbol]
            await self._sent(SetMarketStatus(market.id, STATUSES[wanted.value]))

    def _reopen(self, wanted: Wanted, asked_at_s: int) -> None:
        try:
            self.withdrawals.reopen(asked_at_s)
        except StatusError as error:
            self.register.tell(wanted)  # so that `watch` does not come back to it: the halt is newer
            raise OvertakenError(str(error)) from None

    async def _configure(self, symbol: str, wanted: Wanted) -> None:
        """Write the limits where an engine that begins to lead reads them, and then tell the one that leads."""
        before = self.markets.read()
        after = with_limits(before, symbol, json.loads(wanted.value))
        if after != before:
            self.markets.write(after)
        assets = [asset.id for asset in after.assets]
        await self._sent(Configure(assets, after.specs(), after.tier_specs(), RULES_NEWEST))

    async def _sent(self, command: Command) -> None:
        reply = (await self.engine.send(command)).reply
        if isinstance(reply, Rejected):
            raise EngineRefusedError(f"{type(command).__name__}: reason {reply.reason} {reply.detail}".rstrip())


def changed(name: str, kind: str, symbol: str, state: Literal["waiting", "done"], now_s: int) -> ControlChanged:
    """Return the event of a control that waits, or is done."""
    return ControlChanged(
        event_id=f"control-{state}/{name}",
        at_us=now_s * 1_000_000,
        control_id=name,
        kind=cast(Kind, kind),
        symbol=symbol or None,
        state=state,
    )
