"""The API described for machines: OpenAPI 3.1 for REST, AsyncAPI 3 for what goes over WebSocket.

Both are worked out from what the gateways read and write with: the table of operations, the readers of parameters, and
the structs of answers and events. So they cannot say anything else than what is served.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from runtime.gateway import user_data
from runtime.gateway.auth import RECV_WINDOW_MS_MAX
from runtime.gateway.dispatch import Operation
from runtime.gateway.endpoints import METHODS, OPERATIONS
from runtime.gateway.errors import CODES, ErrorView
from runtime.gateway.limit_models import RateLimit
from runtime.gateway.params import SCHEMAS, Parameter
from runtime.market_data import payloads
from runtime.shared.stream_names import ALL_MARKETS_STREAMS, MARKET_STREAMS

Document = dict[str, Any]

VERSION: Final = "3"
_REF: Final = "#/components/schemas/{name}"
_ABOUT: Final = (
    "Speaks the Binance Spot protocol. Amounts and prices are decimal strings; times are milliseconds, or microseconds "
    "for clients that ask for them by X-MBX-TIME-UNIT or timeUnit."
)
_SIGNED: Final[tuple[tuple[str, Document, bool], ...]] = (
    ("timestamp", {"type": "integer", "format": "int64", "description": "Milliseconds or microseconds."}, True),
    ("recvWindow", {"type": "number", "exclusiveMinimum": 0, "maximum": RECV_WINDOW_MS_MAX, "default": 5000}, False),
    ("signature", {"type": "string", "description": "HMAC-SHA256 in hex; RSA or Ed25519 in base64."}, True),
)
_EVENTS: Final[dict[str, Any]] = {
    "trade": payloads.TradeEvent,
    "aggTrade": payloads.AggTradeEvent,
    "bookTicker": payloads.BookTickerEvent,
    "miniTicker": payloads.MiniTickerEvent,
    "ticker": payloads.TickerEvent,
    "avgPrice": payloads.AveragePriceEvent,
    "kline": payloads.KlineEvent,
}
_USER_EVENTS: Final = (
    user_data.ExecutionReport,
    user_data.ListStatus,
    user_data.AccountPosition,
    user_data.BalanceUpdate,
    user_data.Notice,
)


# ---- REST ------------------------------------------------------------------------------------------------------------


def openapi() -> Document:
    """Return the OpenAPI document of every route that is served; those that are always refused are left out."""
    paths: dict[str, Document] = {}
    served = [operation for operation in OPERATIONS if operation.rest]
    answers, components = _schemas(served)
    for operation in served:
        assert operation.rest
        method, path = operation.rest
        paths.setdefault(path, {})[method.lower()] = _route(operation, answers)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bursa REST API", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}},
        },
    }


def _route(operation: Operation, answers: dict[str, Document]) -> Document:
    assert operation.rest
    method, path = operation.rest
    error = {"description": "Refused: a documented code and its text.", "content": _json({"$ref": _ref(ErrorView)})}
    return {
        "operationId": operation.ws or f"{method.lower()}:{path.removeprefix('/sapi/v1/')}",
        "summary": _summary(operation),
        "tags": [_tag(path)],
        "security": [{"apiKey": []}] if operation.security else [],
        "x-weight": operation.weight if isinstance(operation.weight, int) else "by parameters",
        "x-permission": operation.security or "none",
        "parameters": [
            {"name": name, "in": "query", "required": is_needed, "schema": schema}
            for name, schema, is_needed in _taken(operation)
        ],
        "responses": {
            "200": {"description": "Done.", "content": _json(answers[_name(operation)])},
            "4XX": error,
            "5XX": error | {"description": "What became of the request is unknown; the code says more."},
        },
    }


def _tag(path: str) -> str:
    return "wallet" if path.startswith("/sapi") else "spot"


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


# ---- WebSocket -------------------------------------------------------------------------------------------------------


def asyncapi() -> Document:
    """Return the AsyncAPI document of the market streams and of the WebSocket API."""
    served = [operation for operation in METHODS.values() if operation.answers]
    answers, components = _schemas(served)
    channels: dict[str, Document] = {}
    operations: dict[str, Document] = {}
    for subject in sorted(MARKET_STREAMS):
        name = f"symbol@{subject}"
        channels[name] = {
            "address": f"/ws/{{symbol}}@{subject}",
            "parameters": {"symbol": {"description": "A symbol in lower case."}},
            "messages": {"event": {"payload": {"$ref": _ref(_event_of(subject))}}},
        }
        operations[name] = {"action": "send", "channel": {"$ref": f"#/channels/{_escaped(name)}"}}
    for name in sorted(ALL_MARKETS_STREAMS):
        entry = {"$ref": _ref(_event_of(name.removeprefix("!").removesuffix("@arr")))}
        channels[name] = {
            "address": f"/ws/{name}",
            "messages": {"events": {"payload": {"type": "array", "items": entry}}},
        }
        operations[name] = {"action": "send", "channel": {"$ref": f"#/channels/{_escaped(name)}"}}
    channels["api"] = {
        "address": "/ws-api/v3",
        "messages": {
            **{f"{operation.ws}": {"payload": _request(operation)} for operation in served},
            **{f"{operation.ws} answered": {"payload": _reply(answers[_name(operation)])} for operation in served},
            "refused": {"payload": _reply({"$ref": _ref(ErrorView)}, place="error")},
            "userData": {"payload": _user_event()},
        },
    }
    api = {"$ref": "#/channels/api"}
    for operation in served:
        operations[f"{operation.ws}"] = {
            "action": "receive",
            "channel": api,
            "summary": _summary(operation),
            "messages": [{"$ref": f"#/channels/api/messages/{operation.ws}"}],
            "reply": {"channel": api, "messages": [{"$ref": f"#/channels/api/messages/{operation.ws} answered"}]},
        }
    operations["userData"] = {
        "action": "send",
        "channel": api,
        "messages": [{"$ref": "#/channels/api/messages/userData"}],
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Bursa streams and WebSocket API", "version": VERSION, "description": _ABOUT},
        "channels": channels,
        "operations": operations,
        "components": {"schemas": components},
    }


def _event_of(subject: str) -> Any:  # noqa: ANN401 - a struct type
    kind = subject.partition("@")[0].partition("_")[0]
    if kind.startswith("depth"):
        return payloads.DepthEvent if kind == "depth" else payloads.DepthBody
    return payloads.WindowTickerEvent if subject.startswith("ticker_") else _EVENTS[kind]


def _request(operation: Operation) -> Document:
    taken = [*_taken(operation)]
    if operation.security:
        taken.append(("apiKey", {"type": "string"}, False))
    return {
        "type": "object",
        "required": ["id", "method"],
        "properties": {
            "id": {"type": ["integer", "string", "null"]},
            "method": {"const": operation.ws},
            "params": {
                "type": "object",
                "properties": {name: schema for name, schema, _ in taken},
                # What signs a request may be left out once session.logon has proven the key.
                "required": [parameter.name for parameter in operation.parameters.declared if parameter.is_mandatory],
            },
        },
    }


def _reply(schema: Document, place: str = "result") -> Document:
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["integer", "string", "null"]},
            "status": {"type": "integer"},
            place: schema,
            "rateLimits": {"type": "array", "items": {"$ref": _REF.format(name="RateLimit")}},
        },
    }


def _user_event() -> Document:
    return {
        "type": "object",
        "properties": {
            "subscriptionId": {"type": "integer"},
            "event": {"anyOf": [{"$ref": _ref(event)} for event in _USER_EVENTS]},
        },
    }


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


# ---- both ------------------------------------------------------------------------------------------------------------


def _taken(operation: Operation) -> Iterable[tuple[str, Document, bool]]:
    """Yield name, schema and whether it must be sent, of everything an operation takes."""
    for parameter in operation.parameters.declared:
        schema = _schema_of(parameter)
        if schema is not None:
            yield parameter.name, schema, parameter.is_mandatory
    if operation.parameters.is_signed:
        yield from _SIGNED


def _schema_of(parameter: Parameter) -> Document | None:
    """Return the schema of a parameter, None for one that is documented elsewhere but not built here."""
    return SCHEMAS.get(parameter.reader)


def _schemas(operations: Iterable[Operation]) -> tuple[dict[str, Document], Document]:
    """Return the schema of each operation's answer by its name, and the schemas that those refer to."""
    wanted = {_name(operation): operation.answers for operation in operations}
    types = list(dict.fromkeys(each for answers in wanted.values() for each in answers))
    types += [ErrorView, RateLimit, *_USER_EVENTS, *_EVENTS.values()]
    types += [payloads.DepthEvent, payloads.DepthBody, payloads.WindowTickerEvent]
    found, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip((str(each) for each in types), found, strict=True))
    components["ErrorView"]["properties"]["code"] = {"type": "integer", "enum": CODES}
    answers = {
        name: by_type[str(types[0])] if len(types) == 1 else {"anyOf": [by_type[str(each)] for each in types]}
        for name, types in wanted.items()
    }
    return answers, components


def _name(operation: Operation) -> str:
    return operation.ws or " ".join(operation.rest or ())


def _ref(struct: Any) -> str:  # noqa: ANN401 - a struct type
    return _REF.format(name=struct.__name__)


def _summary(operation: Operation) -> str:
    return ((operation.send or operation.handle).__doc__ or "").strip().partition("\n")[0]
