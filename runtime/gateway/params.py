"""Reads what a client sent against what an operation declares, and says in the documented words what is wrong.

Every transport is brought to one form first, a dict of names to texts: query strings and form bodies by `parse_form`,
JSON parameters by `parse_json`. So one declaration per operation serves REST and the WebSocket API.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote_plus

import msgspec

from runtime.gateway.errors import (
    BAD_INTERVAL,
    BAD_PARAMETER,
    BAD_SYMBOL,
    DUPLICATE_PARAMETER,
    DUPLICATE_SYMBOL,
    EMPTY_PARAMETER,
    ILLEGAL_CHARACTERS,
    ILLEGAL_REQUEST,
    MANDATORY,
    NOT_SUPPORTED,
    OVERFLOW,
    TOO_GREAT,
    TOO_MANY_PARAMETERS,
    UNREAD_PARAMETERS,
    Fault,
)
from runtime.gateway.listings import Listing, Listings
from runtime.shared.catalogue import Asset
from runtime.shared.market_messages import INTERVALS

Values = dict[str, Any]
"""Typed values by parameter name; what was not sent and has no default is absent."""
Reader = Callable[[str, str, Listings], Any]
"""Turns (name, text) into a value or raises the documented error; the listings give meaning to symbols."""

PARAMETERS_MAX: Final = 64
"""More in one request are refused unread; no operation has as many."""
LONG_MAX: Final = 2**63 - 1
AUTHENTICATION: Final = frozenset(["timestamp", "recvWindow", "signature", "apiKey"])
"""Read by `auth`, not here; allowed wherever an operation is signed."""
RETURN_RATE_LIMITS: Final = "returnRateLimits"

SYMBOL: Final = re.compile(r"^[A-Z0-9-_.]{1,20}$", re.ASCII)
SYMBOLS: Final = re.compile(r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$', re.ASCII)
DECIMAL: Final = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$", re.ASCII)
INTEGER: Final = re.compile(r"^[0-9]{1,20}$", re.ASCII)
CLIENT_ID: Final = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$", re.ASCII)
WINDOW: Final = re.compile(r"^([0-9]{1,2})([mhd])$", re.ASCII)
_WINDOWS: Final = {"m": (1, 59), "h": (60, 23), "d": (1_440, 7)}
"""Minutes in each unit, and how many of it a window may have."""
_MS_MAX: Final = 10**14
"""Times from here on are microseconds, below milliseconds: the year 5138 in one, 1973 in the other."""

Found = TypeVar("Found")


# ---- from the wire to texts ------------------------------------------------------------------------------------------


def parse_form(raw: bytes) -> dict[str, str]:
    """Return the parameters of a query string or form body as sent. Raises -1100 or -1101."""
    if not raw:
        return {}
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise ILLEGAL_REQUEST.error() from None
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    if len(pairs) > PARAMETERS_MAX:
        raise TOO_MANY_PARAMETERS.error(PARAMETERS_MAX, len(pairs))
    if "%" in text or "+" in text:
        sent = {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    else:
        sent = {name: value for name, _, value in pairs}
    if len(sent) < len(pairs):
        raise DUPLICATE_PARAMETER.error()
    return sent


def parse_json(params: Mapping[str, Any]) -> dict[str, str]:
    """Return decoded JSON parameters as texts, as they were written: decode with `float_hook=str` to keep digits."""
    if len(params) > PARAMETERS_MAX:
        raise TOO_MANY_PARAMETERS.error(PARAMETERS_MAX, len(params))
    return {name: value if isinstance(value, str) else _json_text(value) for name, value in params.items()}


def _json_text(value: object) -> str:
    if type(value) is int:  # and not a bool, which is one, too
        return str(value)
    return "" if value is None else msgspec.json.encode(value).decode()


# ---- what an operation declares --------------------------------------------------------------------------------------


class Parameter:
    """One parameter of an operation: its name, how to read it, whether it must be sent, what it is when it is not."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        *,
        is_mandatory: bool = False,
        default: Any = None,  # noqa: ANN401 - of whatever type the reader returns
        missing: Fault | None = None,
        empty: Fault | None = None,
    ) -> None:
        """Declare it. `missing` and `empty` replace the usual faults where a parameter has its own."""
        self.name = name
        self.reader = reader
        self.is_mandatory = is_mandatory
        self.default = default
        self._missing = missing
        self._empty = empty

    def missing(self) -> Exception:
        """Return the error for a mandatory parameter that was not sent."""
        return self._missing.error() if self._missing else MANDATORY.error(self.name)

    def empty(self) -> Exception:
        """Return the error for a parameter sent without a value."""
        if self._empty:
            return self._empty.error()
        return MANDATORY.error(self.name) if self.is_mandatory else EMPTY_PARAMETER.error(self.name)


class Parameters:
    """All parameters of an operation."""

    def __init__(
        self, declared: Iterable[Parameter] = (), *, is_signed: bool = False, takes_others: bool = False
    ) -> None:
        """Declare them; a signed operation also takes those of AUTHENTICATION. Others are refused, or left unread."""
        self._declared = {parameter.name: parameter for parameter in declared}
        self.is_signed = is_signed
        self._mandatory = [parameter for parameter in self._declared.values() if parameter.is_mandatory]
        self._defaults = {
            name: parameter.default for name, parameter in self._declared.items() if parameter.default is not None
        }
        self._takes_others = takes_others
        self._elsewhere = frozenset([RETURN_RATE_LIMITS, *(AUTHENTICATION if is_signed else ())])

    @property
    def declared(self) -> Iterable[Parameter]:
        """What the operation takes, besides what signs it."""
        return self._declared.values()

    def read(self, sent: Mapping[str, str], listings: Listings) -> Values:
        """Return the typed values of `sent`. Raises the documented error of the first thing that is wrong."""
        values = self._defaults.copy()
        declared = self._declared
        unread = 0
        for name, text in sent.items():
            parameter = declared.get(name)
            if parameter is not None:
                if not text:
                    raise parameter.empty()
                values[name] = parameter.reader(name, text, listings)
            elif name not in self._elsewhere:
                unread += 1
        for parameter in self._mandatory:
            if parameter.name not in sent:
                raise parameter.missing()
        if unread and not self._takes_others:
            self._refuse_unread(len(sent), unread)
        return values

    def _refuse_unread(self, sent: int, unread: int) -> None:
        if not self._declared and unread == sent:
            raise TOO_MANY_PARAMETERS.error(0, sent)
        raise UNREAD_PARAMETERS.error(sent - unread, sent)


SCHEMAS: Final[dict[Reader, dict[str, Any]]] = {}
"""By reader: the JSON Schema of the texts that it takes."""


def _takes(reader: Reader, **schema: Any) -> Reader:  # noqa: ANN401 - as JSON has it
    SCHEMAS[reader] = schema
    return reader


# ---- readers ---------------------------------------------------------------------------------------------------------


def _check(pattern: re.Pattern[str], name: str, text: str) -> str:
    # `match` with `$` would let a final line feed through.
    if pattern.fullmatch(text) is None:
        raise ILLEGAL_CHARACTERS.error(name, pattern.pattern)
    return text


def matching(pattern: re.Pattern[str]) -> Reader:
    """Return a reader of texts that match all of `pattern`."""

    def read(name: str, text: str, _: Listings) -> str:
        return _check(pattern, name, text)

    return _takes(read, type="string", pattern=pattern.pattern)


decimal: Final = matching(DECIMAL)
"""Reads a plain positive decimal number; what it counts decides later how precise it may be."""
client_id: Final = matching(CLIENT_ID)
"""Reads a client's own name of an order."""


def symbol(name: str, text: str, listings: Listings) -> Listing:
    """Read the name of a market."""
    listing = listings.by_symbol.get(text)
    if listing is None:
        _check(SYMBOL, name, text)
        raise BAD_SYMBOL.error()
    return listing


def symbols(name: str, text: str, listings: Listings) -> list[Listing]:
    """Read a JSON array of names of markets, each listed once."""
    names = _names(name, text)
    if not names:
        raise BAD_PARAMETER.error(name)
    if len(set(names)) != len(names):
        raise DUPLICATE_SYMBOL.error()
    return [symbol(name, each, listings) for each in names]


def permissions(name: str, text: str, _: Listings) -> list[str]:
    """Read one permission, or a JSON array of them."""
    return _names(name, text) if text.startswith("[") else [_check(SYMBOL, name, text)]


def _names(name: str, text: str) -> list[str]:
    _check(SYMBOLS, name, text.replace(" ", ""))
    return msgspec.json.decode(text, type=list[str])


def long(name: str, text: str, _: Listings) -> int:
    """Read a whole number of 63 bits."""
    number = int(_check(INTEGER, name, text))
    if number > LONG_MAX:
        raise OVERFLOW.error(name)
    return number


def time_us(name: str, text: str, listings: Listings) -> int:
    """Read a time in milliseconds or microseconds; return microseconds."""
    number = long(name, text, listings)
    return number * 1000 if number < _MS_MAX else number


def flag(name: str, text: str, _: Listings) -> bool:
    """Read true or false, in any case."""
    lower = text.lower()
    if lower not in ("true", "false"):
        raise BAD_PARAMETER.error(name)
    return lower == "true"


def interval(_name: str, text: str, _: Listings) -> str:
    """Read the interval of a kline."""
    if text not in INTERVALS:
        raise BAD_INTERVAL.error()
    return text


def window(name: str, text: str, _: Listings) -> int:
    """Read how long a rolling window is, such as 5m, 4h or 7d; return minutes."""
    found = WINDOW.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= _WINDOWS[found[2]][1]:
        raise BAD_PARAMETER.error(name)
    return int(found[1]) * _WINDOWS[found[2]][0]


def limit(most: int, *, least: int = 1) -> Reader:
    """Return a reader of a number of rows; more than `most` is taken as `most`."""

    def read(name: str, text: str, listings: Listings) -> int:
        number = long(name, text, listings)
        if number < least:
            raise BAD_PARAMETER.error(name)
        return min(number, most)

    return _takes(read, type="integer", minimum=least, maximum=most)


def at_most(most: int) -> Reader:
    """Return a reader of a whole number up to `most`; a greater one is refused."""

    def read(name: str, text: str, listings: Listings) -> int:
        number = long(name, text, listings)
        if number > most:
            raise TOO_GREAT.error(name, most)
        return number

    return _takes(read, type="integer", minimum=0, maximum=most)


def one_of(choices: Mapping[str, Found | None], fault: Fault | None = None) -> Reader:
    """Return a reader of one of `choices`; those that stand for None are documented but not built."""

    def read(name: str, text: str, _: Listings) -> Found:
        chosen = choices.get(text)
        if chosen is not None:
            return chosen
        if text in choices:
            raise NOT_SUPPORTED.error()
        raise fault.error() if fault else BAD_PARAMETER.error(name)

    return _takes(read, type="string", enum=[name for name, code in choices.items() if code is not None])


def not_built(_name: str, _text: str, _: Listings) -> None:
    """Refuse a documented parameter whose effect does not exist here: ignoring it would be a lie."""
    raise NOT_SUPPORTED.error()


def asset(name: str, text: str, listings: Listings) -> Asset:
    """Read the name of an asset."""
    found = next((each for each in listings.catalogue.assets if each.name == text), None)
    if found is None:
        _check(SYMBOL, name, text)
        raise BAD_PARAMETER.error(name)
    return found


def printable(most: int) -> Reader:
    """Return a reader of up to `most` characters without line feeds and the like."""

    def read(name: str, text: str, _: Listings) -> str:
        if len(text) > most or not text.isprintable():
            raise BAD_PARAMETER.error(name)
        return text

    return _takes(read, type="string", maxLength=most)


def no_blanks(most: int) -> Reader:
    """Return a reader of up to `most` visible characters of ASCII."""
    return matching(re.compile(rf"^[\x21-\x7e]{{1,{most}}}$", re.ASCII))


_takes(asset, type="string", pattern=r"^[A-Z0-9]{2,10}$")
_takes(symbol, type="string", pattern=SYMBOL.pattern)
_takes(symbols, type="string", pattern=SYMBOLS.pattern, description="A JSON array of symbols.")
_takes(permissions, type="string", description="A permission, or a JSON array of them.")
_takes(long, type="integer", format="int64", minimum=0, maximum=LONG_MAX)
_takes(time_us, type="integer", format="int64", minimum=0, description="Milliseconds or microseconds since 1970.")
_takes(flag, type="boolean")
_takes(interval, type="string", enum=[*INTERVALS])
_takes(window, type="string", pattern=WINDOW.pattern, description="1m to 59m, 1h to 23h, 1d to 7d.")
