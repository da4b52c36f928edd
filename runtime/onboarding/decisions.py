"""Whether an applicant becomes a customer, and of which tier. Pure, and fail-closed: what is not known refuses."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

AGE_YEARS_MIN: Final = 18
DISCLOSURE_VERSION: Final = "2026-1"
"""The risk disclosure in force. Who accepted an older one has to read this one first."""
WITHDRAWAL_LOCK_US: Final = 24 * 3600 * 1_000_000
"""How long withdrawals wait after a customer's credentials changed."""

NOT_VERIFIED: Final = "identity-not-verified"
KYC_UNKNOWN: Final = "identity-check-without-result"
LISTED: Final = "sanctions-list-match"
SCREENING_UNKNOWN: Final = "sanctions-screening-without-result"
TOO_YOUNG: Final = "under-age"
DISCLOSURE: Final = "risk-disclosure-not-accepted"
COUNTRY: Final = "country-not-served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """What a decision looks at."""

    full_name: str
    birth_date: date
    country: str
    """ISO 3166, two letters."""
    disclosure_version: str
    """The risk disclosure that the applicant accepted; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A person on a sanctions list. Without a birth year, the name alone is a match."""

    name: str
    birth_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome, and for a refusal every reason, not only the first."""

    decision: Literal["approved", "refused"]
    tier: str = ""
    reasons: tuple[str, ...] = ()


def is_listed(applicant: Applicant, listed: Collection[Listed]) -> bool:
    """Tell whether somebody on the list has the applicant's name, in any order and spelling of letters, and age."""
    words = _words(applicant.full_name)
    return any(
        _words(person.name) == words and person.birth_year in (None, applicant.birth_date.year) for person in listed
    )


def decide(
    applicant: Applicant, *, kyc: str, sanctions: str, today: date, countries: Collection[str], tier: str
) -> Decision:
    """Approve only if every check is known to have passed; an answer that is not understood counts as none."""
    reasons = []
    if kyc != "verified":
        reasons.append(NOT_VERIFIED if kyc == "rejected" else KYC_UNKNOWN)
    if sanctions != "clear":
        reasons.append(LISTED if sanctions == "listed" else SCREENING_UNKNOWN)
    if _age(applicant.birth_date, today) < AGE_YEARS_MIN:
        reasons.append(TOO_YOUNG)
    if applicant.country not in countries:
        reasons.append(COUNTRY)
    if applicant.disclosure_version != DISCLOSURE_VERSION:
        reasons.append(DISCLOSURE)
    if reasons:
        return Decision(decision="refused", reasons=tuple(reasons))
    return Decision(decision="approved", tier=tier)


def _age(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _words(name: str) -> list[str]:
    """Return the words of a name, without accents, case and order."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return sorted("".join(letter if letter.isalnum() else " " for letter in plain.casefold()).split())
