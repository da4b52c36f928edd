"""Parameters: every documented complaint, and nothing else than a documented complaint for whatever is sent."""

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.gateway.dispatch import Operation
from runtime.gateway.endpoints import METHODS, OPERATIONS, ROUTES
from runtime.gateway.errors import ApiError
from runtime.gateway.listings import Listings
from runtime.gateway.params import parse_form, parse_json

LISTINGS = Listings(CATALOGUE)
PLACE = METHODS["order.place"].parameters
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "1"}


def refused(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value


def test_a_form_is_read_as_sent() -> None:
    assert parse_form(b"") == {}
    assert parse_form(b"a=1&b=&c=x%20y+z&d=%2B&e") == {"a": "1", "b": "", "c": "x y z", "d": "+", "e": ""}
    assert parse_form(b"a=1&&b=2") == {"a": "1", "b": "2"}
    assert refused(lambda: parse_form(b"a=1&a=2")).text == "Duplicate values for a parameter detected."
    assert refused(lambda: parse_form(b"a=\xff")).code == -1100
    assert refused(lambda: parse_form(b"&".join(b"p%d=1" % number for number in range(65)))).code == -1101


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=8))
def test_whatever_a_client_encodes_is_read_back(sent: dict[str, str]) -> None:
    assert parse_form(urlencode(sent).encode()) == sent
    assert parse_json(msgspec.json.decode(msgspec.json.encode(sent))) == sent


def test_json_parameters_keep_their_digits() -> None:
    text = b'{"a":0.10,"b":"0.10","c":true,"d":null,"e":["X", "Y"],"f":"\\u0041\\n","g":12,"h":1e-05}'
    sent = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode(text)
    assert parse_json(sent) == {
        "a": "0.10",
        "b": "0.10",
        "c": "true",
        "d": "",
        "e": '["X","Y"]',
        "f": "A\n",
        "g": "12",
        "h": "1e-05",
    }


MANDATORY = "Mandatory parameter '%s' was not sent, was empty/null, or malformed."
ILLEGAL = "Illegal characters found in parameter '%s'; legal range is '%s'."
SYMBOL_RANGE = "^[A-Z0-9-_.]{1,20}$"
NUMBER_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
CLIENT_ID_RANGE = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
WIDE_B = "\uff22"
ARABIC_ONE = "\u0661"


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"symbol": None}, -1102, MANDATORY % "symbol"),
        ({"symbol": ""}, -1102, MANDATORY % "symbol"),
        ({"symbol": "XXXYYY"}, -1121, "Invalid symbol."),
        ({"symbol": "BTC/USDT"}, -1100, ILLEGAL % ("symbol", SYMBOL_RANGE)),
        ({"symbol": "btcusdt"}, -1100, None),
        ({"symbol": "BTCUSDT\n"}, -1100, None),
        ({"symbol": WIDE_B + "TCUSDT"}, -1100, None),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"side": "buy"}, -1117, None),
        ({"type": "LIMITED"}, -1116, "Invalid orderType."),
        ({"pegPriceType": "PRIMARY_PEG"}, -1020, "This operation is not supported."),
        ({"timeInForce": "GTD"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": ""}, -1105, "Parameter 'timeInForce' was empty."),
        ({"quantity": "-1"}, -1100, ILLEGAL % ("quantity", NUMBER_RANGE)),
        ({"quantity": "1e3"}, -1100, None),
        ({"quantity": ARABIC_ONE}, -1100, None),
        ({"price": "NaN"}, -1100, None),
        ({"newClientOrderId": "no blanks"}, -1100, ILLEGAL % ("newClientOrderId", CLIENT_ID_RANGE)),
        ({"newClientOrderId": "x" * 37}, -1100, None),
        ({"newClientOrderId": ""}, -1118, "New client order ID was empty."),
        ({"newOrderRespType": "ALL"}, -1130, "Data sent for parameter 'newOrderRespType' is not valid."),
        ({"selfTradePreventionMode": "MAYBE"}, -1130, None),
        ({"strategyId": "1"}, -1020, None),
        ({"colour": "red"}, -1104, "Not all sent parameters were read; read '6' parameter(s) but was sent '7'."),
    ],
)
def test_what_is_wrong_with_an_order_is_said_in_the_documented_words(
    change: dict[str, str | None], code: int, text: str | None
) -> None:
    sent = {name: value for name, value in {**LIMIT, **change}.items() if value is not None}
    error = refused(lambda: PLACE.read(sent, LISTINGS))
    assert error.code == code
    assert text in (None, error.text)


def test_an_operation_without_parameters_takes_none() -> None:
    error = refused(lambda: METHODS["ping"].parameters.read({"a": "1", "b": "2"}, LISTINGS))
    assert (error.code, error.text) == (-1101, "Too many parameters; expected '0' and received '2'.")
    assert METHODS["ping"].parameters.read({"returnRateLimits": "false"}, LISTINGS) == {}
    assert refused(lambda: METHODS["ping"].parameters.read({"timestamp": "1"}, LISTINGS)).code == -1101


def test_symbols() -> None:
    read = METHODS["ticker.price"].parameters.read
    assert [each.symbol for each in read({"symbols": '["ETHUSDT", "BTCUSDT"]'}, LISTINGS)["symbols"]] == [
        "ETHUSDT",
        "BTCUSDT",
    ]
    for text, code in (
        ('["BTCUSDT","BTCUSDT"]', -1151),
        ('["NONE"]', -1121),
        ("BTCUSDT", -1100),
        ('["BTC USDT"]', -1100),
        ("[]", -1130),
        ('["BTCUSDT",]', -1100),
        ('[["BTCUSDT"]]', -1100),
    ):
        assert refused(lambda text=text: read({"symbols": text}, LISTINGS)).code == code, text


def test_numbers_times_and_flags() -> None:
    read = METHODS["allOrders"].parameters.read
    values = read({"symbol": "BTCUSDT", "startTime": "1700000000000", "endTime": "1700000000000001"}, LISTINGS)
    assert (values["startTime"], values["endTime"], values["limit"]) == (
        1_700_000_000_000_000,
        1_700_000_000_000_001,
        500,
    )
    assert read({"symbol": "BTCUSDT", "limit": "5000"}, LISTINGS)["limit"] == 1000
    assert refused(lambda: read({"symbol": "BTCUSDT", "limit": "0"}, LISTINGS)).code == -1130
    assert refused(lambda: read({"symbol": "BTCUSDT", "orderId": "9" * 20}, LISTINGS)).code == -1108
    assert refused(lambda: read({"symbol": "BTCUSDT", "orderId": "1.0"}, LISTINGS)).code == -1100
    account = METHODS["account.status"].parameters.read
    assert account({"omitZeroBalances": "TRUE"}, LISTINGS)["omitZeroBalances"] is True
    assert refused(lambda: account({"omitZeroBalances": "yes"}, LISTINGS)).code == -1130
    klines = METHODS["klines"].parameters.read
    assert refused(lambda: klines({"symbol": "BTCUSDT", "interval": "7m"}, LISTINGS)).code == -1120
    assert klines({"symbol": "BTCUSDT", "interval": "1M", "timeZone": "0"}, LISTINGS)["interval"] == "1M"
    assert refused(lambda: klines({"symbol": "BTCUSDT", "interval": "1M", "timeZone": "7"}, LISTINGS)).code == -1020


NAMES = sorted({name for operation in OPERATIONS for name in operation.parameters._declared} | {"colour"})


def code_or_weight(operation: Operation, sent: dict[str, str]) -> int:
    """Return the code of the error, or the weight of what was understood."""
    try:
        values = operation.parameters.read(sent, LISTINGS)
    except ApiError as error:
        return error.code
    return operation.weight if isinstance(operation.weight, int) else operation.weight(values)


@given(
    st.sampled_from(OPERATIONS),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.one_of(st.text(max_size=12), st.sampled_from(["BTCUSDT", "1", "0.5", "BUY", "LIMIT", "GTC", "1m"])),
        max_size=8,
    ),
)
def test_nothing_sent_causes_anything_but_a_documented_error(operation: Operation, sent: dict[str, str]) -> None:
    assert code_or_weight(operation, sent) in {-1020, *range(-1220, -1099), *range(1, 251)}


def test_every_operation_is_reached_and_every_name_is_used_once() -> None:
    reached = [operation.rest for operation in OPERATIONS if operation.rest]
    methods = [operation.ws for operation in OPERATIONS if operation.ws]
    assert len(set(reached)) == len(reached)
    assert len(set(methods)) == len(methods)
    assert all(ROUTES[path][method].rest == (method, path) for method, path in reached)
    assert all(operation.rest or operation.ws for operation in OPERATIONS)
