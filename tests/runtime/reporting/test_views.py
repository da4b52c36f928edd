"""The supervisor's views, read as its user: every row once, page by page, and nothing else."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from psycopg.conninfo import make_conninfo
from pydantic import ValidationError

from config.markets import CATALOGUE
from runtime.reporting import handler
from runtime.reporting.customer import customer_records
from runtime.reporting.views import VIEWS, read_page
from tests.runtime.ledger.feeds import ANA
from tests.runtime.reporting.test_filing import DAY, ledger

__all__ = ["ledger"]


@pytest.fixture
def regulator(ledger: psycopg.Connection) -> Iterator[psycopg.Connection]:
    with psycopg.connect(make_conninfo(ledger.info.dsn, user="regulator"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("view", VIEWS)
def test_pages_hold_every_row_once_in_order(regulator: psycopg.Connection, view: str) -> None:
    rows: list[dict[str, Any]] = []
    after: list[int] = []
    while True:
        page = read_page(regulator, view, after, rows_max=3)
        assert len(page["rows"]) <= 3
        rows += page["rows"]
        if page["next"] is None:
            break
        after = page["next"]
    keys = [tuple(row[key] for key in VIEWS[view]) for row in rows]
    assert keys == sorted(set(keys))
    counted = regulator.execute(f"SELECT count(*) FROM regulator.{view}".encode()).fetchone()
    assert counted == (len(rows),)
    assert rows


def test_there_is_a_page_for_every_view(regulator: psycopg.Connection) -> None:
    views = regulator.execute("SELECT viewname FROM pg_views WHERE schemaname = 'regulator'").fetchall()
    assert {name for (name,) in views} == set(VIEWS)


def test_a_customers_day_is_read_by_the_same_user(regulator: psycopg.Connection, ledger: psycopg.Connection) -> None:
    answer = customer_records(regulator, CATALOGUE, ANA, DAY)
    assert answer["orders"]
    assert answer == customer_records(ledger, CATALOGUE, ANA, DAY)


def test_the_function_answers_a_page_and_refuses_what_is_no_question(
    regulator: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "DATABASE_URL", "url")
    monkeypatch.setattr(handler, "database_conninfo", lambda _url: regulator.info.dsn)
    context = LambdaContext()
    page = handler.view({"view": "accounts"}, context)
    first = page["rows"][0]["account"]
    assert page["next"] is None
    assert handler.view({"view": "accounts", "after": [first]}, context)["rows"] == page["rows"][1:]
    for wrong, said in (
        ({"view": "positions"}, "view must be one of accounts, orders,"),
        ({"view": "trades", "after": [1]}, "after must name market, trade_id of trades"),
        ({"view": "accounts", "rows": 9}, "Extra inputs are not permitted"),
        ({"view": "accounts", "after": [-1]}, "greater than or equal to 0"),
    ):
        with pytest.raises(ValidationError, match=said):
            handler.view(wrong, context)
