"""What the documents say is what is served."""

from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from runtime.gateway.api_documents import asyncapi, openapi
from runtime.gateway.endpoints import METHODS, OPERATIONS, REFUSED
from scripts.api_documents import DOCUMENTS, FOLDER, text_of
from tests.runtime.gateway.test_endpoints import LIMIT, MAKER, ask
from tests.runtime.gateway.world import World

LIST = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER", "abovePrice": "90000"}
STOP = {"belowType": "STOP_LOSS", "belowStopPrice": "30000"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_committed_documents_are_of_this_code(name: str) -> None:
    assert (FOLDER / name).read_text() == text_of(DOCUMENTS[name]()), "run `python -m scripts.api_documents`"


def test_openapi_is_valid_and_whole() -> None:
    document = openapi()
    validate(document)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {operation.rest for operation in OPERATIONS if operation.rest}
    assert not described & {operation.rest for operation in REFUSED}
    for methods in document["paths"].values():
        for route in methods.values():
            assert route["summary"], route["operationId"]


def test_asyncapi_refers_to_what_it_holds() -> None:
    document = asyncapi()

    def check(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                found: Any = document
                for step in part["$ref"].removeprefix("#/").split("/"):
                    found = found[step.replace("~1", "/").replace("~0", "~")]
            for each in part.values():
                check(each)
        elif isinstance(part, list):
            for each in part:
                check(each)

    check(document)
    assert {name for name in METHODS if METHODS[name].answers} <= document["operations"].keys()


def test_every_parameter_that_is_read_is_described() -> None:
    paths = openapi()["paths"]
    for operation in OPERATIONS:
        if operation.rest:
            method, path = operation.rest
            named = {each["name"] for each in paths[path][method.lower()]["parameters"]}
            missing = {each.name for each in operation.parameters.declared} - named
            # Documented by the protocol, refused here.
            refused = ("strategy", "peg", "addresstag", "transactionfeeflag")
            assert all(any(each in name.lower() for each in refused) for name in missing), (path, missing)


ANSWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("GET /api/v3/ping", {}),
    ("GET /api/v3/time", {}),
    ("GET /api/v3/exchangeInfo", {}),
    ("POST /api/v3/order", LIMIT | {"newOrderRespType": "ACK"}),
    ("POST /api/v3/order", LIMIT | {"newOrderRespType": "FULL"}),
    ("POST /api/v3/order", MAKER | {"price": "60000"}),
    ("POST /api/v3/order/test", LIMIT),
    ("POST /api/v3/order/test", LIMIT | {"computeCommissionRates": "true"}),
    ("POST /api/v3/orderList/oco", LIST | STOP),
    ("POST /api/v3/order/cancelReplace", LIMIT | {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": 1}),
    ("PUT /api/v3/order/amend/keepPriority", {"symbol": "BTCUSDT", "orderId": 2, "newQty": "0.005"}),
    ("GET /api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}),
    ("GET /api/v3/openOrders", {}),
    ("GET /api/v3/openOrderList", {}),
    ("GET /api/v3/allOrders", {"symbol": "BTCUSDT"}),
    ("GET /api/v3/myTrades", {"symbol": "BTCUSDT"}),
    ("GET /api/v3/account", {}),
    ("GET /api/v3/account/commission", {"symbol": "BTCUSDT"}),
    ("GET /api/v3/myFilters", {"symbol": "BTCUSDT"}),
    ("GET /api/v3/rateLimit/order", {}),
    ("GET /sapi/v1/capital/config/getall", {}),
    ("GET /sapi/v1/asset/tradeFee", {}),
    ("GET /sapi/v1/portfolio/holdings", {"currency": "USDT"}),
    ("DELETE /api/v3/openOrders", {"symbol": "BTCUSDT"}),
)


def test_answers_are_as_described() -> None:
    world = World()
    document = openapi()
    for route, parameters in ANSWERS:
        method, path = route.split()
        described = document["paths"][path][method.lower()]
        answer = ask(world, route, world.ana if described["security"] else None, **parameters)
        schema = described["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, {**schema, "components": document["components"]})
        assert not _unknown(answer, schema, document), route


def _unknown(answer: Any, schema: dict[str, Any], document: dict[str, Any]) -> set[str]:
    """Return members of an answer that its schema does not name."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(answer, list):
        return {name for each in answer for name in _unknown(each, schema.get("items", {}), document)}
    if isinstance(answer, dict) and "properties" in schema:
        unknown = answer.keys() - schema["properties"].keys()
        for name, each in answer.items():
            unknown |= _unknown(each, schema["properties"].get(name, {}), document)
        return unknown
    return set()


def test_documents_are_json() -> None:
    for make in DOCUMENTS.values():
        assert msgspec.json.decode(msgspec.json.encode(make())) == make()
