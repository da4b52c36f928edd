"""Exact conversion between decimal strings on the wire and integers inside."""

from typing import Final

DIGITS_MAX: Final = 40
"""Longest number of digits accepted on either side of the point; longer input is refused unread."""


class MoneyError(ValueError):
    """A decimal string that cannot be taken; the message says what was given and what is allowed."""


class NotDecimalError(MoneyError):
    """Not a plain decimal number: digits with at most one point, no sign, no exponent."""


class TooPreciseError(MoneyError):
    """More decimals than the scale has, beyond trailing zeros."""


def parse_decimal(text: str, scale: int) -> int:
    """Return `text` in units of 10**-scale.

    Accepts `12`, `12.5`, `.5` and `12.`; refuses signs, exponents, blanks, underscores and non-ASCII digits.
    Trailing zeros past the scale are harmless and dropped.

    Raises NotDecimalError or TooPreciseError.
    """
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(whole) > DIGITS_MAX or len(fraction) > DIGITS_MAX:
        msg = f"must be a plain decimal number of at most {DIGITS_MAX} digits, was {text[:60]!r}"
        raise NotDecimalError(msg)
    fraction = fraction.rstrip("0") if point else ""
    if len(fraction) > scale:
        msg = f"must have at most {scale} decimals, was {text[:60]!r}"
        raise TooPreciseError(msg)
    unit: int = 10**scale
    return int(whole or "0") * unit + int((fraction + "0" * scale)[:scale] or "0")


def format_decimal(amount: int, scale: int, places: int | None = None) -> str:
    """Return `amount` units of 10**-scale as a decimal string with exactly `places` decimals (default: the scale).

    `places` below the scale is refused unless the digits cut are zeros: a display never loses money.
    """
    shown = scale if places is None else places
    sign, magnitude = ("-", -amount) if amount < 0 else ("", amount)
    whole, fraction = divmod(magnitude, 10**scale)
    text = f"{fraction:0{scale}d}" if scale else ""
    if shown < scale:
        if text[shown:].strip("0"):
            msg = f"{amount} units of 10**-{scale} need more than {shown} decimals"
            raise TooPreciseError(msg)
        text = text[:shown]
    else:
        text += "0" * (shown - scale)
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"
