"""The steps of an application, each done once however often it is asked for."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from runtime.onboarding.applications import Applications
from runtime.onboarding.decisions import Decision, decide, is_listed
from runtime.shared.business_events import CaseOpened, EventPublisher, KycDecided, KycRequested

FIRST_TIER: Final = "standard"
SERVED: Final = frozenset({"ID"})
"""Countries whose residents may become customers."""


class UnknownStepError(ValueError):
    """The state machine asks for a step that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the steps work with. `now` is given, so that tests can choose it."""

    applications: Applications
    events: EventPublisher
    now: datetime
    countries: Collection[str] = SERVED

    @property
    def now_us(self) -> int:
        """The time in microseconds since 1970."""
        return int(self.now.timestamp() * 1_000_000)

    def do(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Carry out the step that `request` names. Raises UnknownStepError, and what the stores raise."""
        name = str(request["application_id"])
        match request["step"]:
            case "ask-kyc":
                return self.ask_kyc(name, str(request["token"]))
            case "screen":
                return self.screen(name)
            case "decide":
                return self.decide(name, str(request["kyc"]), str(request["sanctions"]))
            case "refuse":
                return self.refuse(name)
            case "undecided":
                return self.undecided(name)
            case step:
                raise UnknownStepError(f"no step {step!r}")

    def ask_kyc(self, name: str, token: str) -> None:
        """Keep the token for the answer, then ask the partner by an event."""
        self.applications.wait(name, token)
        self.events.publish(KycRequested(event_id=f"kyc-requested/{name}", at_us=self.now_us, application_id=name))

    def screen(self, name: str) -> str:
        """Return `listed` or `clear`. Raises StaleListError when it cannot be known."""
        listed = self.applications.sanctions_list(self.now)
        return "listed" if is_listed(self.applications.read(name).applicant, listed) else "clear"

    def decide(self, name: str, kyc: str, sanctions: str) -> dict[str, Any]:
        """Return the decision, and write it: a second call returns the first one's, whatever it was given."""
        wanted = decide(
            self.applications.read(name).applicant,
            kyc=kyc,
            sanctions=sanctions,
            today=self.now.astimezone(UTC).date(),
            countries=self.countries,
            tier=FIRST_TIER,
        )
        made = self.applications.decided(name, wanted)
        return {"decision": made.decision, "tier": made.tier, "reasons": list(made.reasons)}

    def refuse(self, name: str) -> None:
        """Tell the bus that the application was refused, and why."""
        self.events.publish(self.decided_event(name, self.decision(name)))

    def undecided(self, name: str) -> None:
        """Open a case for a person to decide."""
        self.events.publish(
            CaseOpened(
                event_id=f"onboarding-undecided/{name}",
                at_us=self.now_us,
                case_id=f"onboarding/{name}",
                kind="onboarding-undecided",
                severity="medium",
            )
        )

    def decision(self, name: str) -> Decision:
        """Return the decision that was written; an application without one counts as refused."""
        return self.applications.decided(name, Decision(decision="refused", reasons=("not-decided",)))

    def decided_event(self, name: str, made: Decision) -> KycDecided:
        """Return the event that tells of a decision."""
        return KycDecided(
            event_id=f"kyc-decided/{name}",
            at_us=self.now_us,
            application_id=name,
            decision=made.decision,
            tier=made.tier or None,
            reasons=made.reasons,
        )
