"""Nobody becomes a customer unless every check is known to have passed."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.onboarding.decisions import DISCLOSURE_VERSION, Applicant, Listed, decide, is_listed

TODAY = date(2026, 11, 25)


def applicant(**change: object) -> Applicant:
    given_: dict[str, object] = {
        "full_name": "Budi Santoso",
        "birth_date": date(1990, 5, 17),
        "country": "ID",
        "disclosure_version": DISCLOSURE_VERSION,
    }
    return Applicant(**(given_ | change))  # type: ignore[arg-type]


@given(
    kyc=st.sampled_from(["verified", "rejected", "", "VERIFIED", "inconclusive"]),
    sanctions=st.sampled_from(["clear", "listed", "", "unknown"]),
    born=st.dates(date(1900, 1, 1), TODAY),
    country=st.sampled_from(["ID", "US", "id"]),
    version=st.sampled_from([DISCLOSURE_VERSION, "2025-1", ""]),
)
def test_only_the_one_good_case_is_approved(kyc: str, sanctions: str, born: date, country: str, version: str) -> None:
    made = decide(
        applicant(birth_date=born, country=country, disclosure_version=version),
        kyc=kyc,
        sanctions=sanctions,
        today=TODAY,
        countries={"ID"},
        tier="standard",
    )
    adult = born <= date(TODAY.year - 18, TODAY.month, TODAY.day)
    good = [kyc == "verified", sanctions == "clear", adult, country == "ID", version == DISCLOSURE_VERSION]
    assert (made.decision == "approved") == all(good)
    assert len(made.reasons) == good.count(False)
    assert bool(made.tier) == all(good)


@pytest.mark.parametrize(("born", "reasons"), [(date(2008, 11, 25), ()), (date(2008, 11, 26), ("under-age",))])
def test_the_eighteenth_birthday_decides(born: date, reasons: tuple[str, ...]) -> None:
    made = decide(
        applicant(birth_date=born), kyc="verified", sanctions="clear", today=TODAY, countries={"ID"}, tier="standard"
    )
    assert made.reasons == reasons


@pytest.mark.parametrize(
    ("name", "year", "match"),
    [
        ("Budi Santoso", 1990, True),
        ("SANTOSO, Budi", 1990, True),
        ("Búdi  Santóso", None, True),
        ("Budi Santoso", 1991, False),
        ("Budi Santosa", 1990, False),
        ("Budi", 1990, False),
    ],
)
def test_a_listed_person_is_found_however_the_name_is_written(name: str, year: int | None, match: bool) -> None:  # noqa: FBT001
    assert is_listed(applicant(), [Listed(name=name, birth_year=year)]) is match
