"""What the market maker reads before it starts: its environment and its keys."""

from pathlib import Path
from typing import Final

import msgspec
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.market_maker.client import BadKeyError, Key

_START_PRICES: Final = {
    "BTCUSDT": "60000",
    "ETHUSDT": "2600",
    "BTCIDR": "960000000",
    "ETHIDR": "41600000",
}


class MakerSettings(BaseSettings):
    """Environment of the market maker."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    rest_url: str = Field(pattern=r"^https?://")
    ws_api_url: str = Field(pattern=r"^wss?://")
    stream_url: str = Field(pattern=r"^wss?://")
    maker_keys_file: Path
    maker_seed: int = 1
    maker_refresh_ms: int = Field(default=500, ge=50, le=60_000)
    maker_levels: int = Field(default=10, ge=1, le=50)
    maker_start_prices: dict[str, str] = _START_PRICES
    maker_pause_dir: Path | None = None


class _KeyEntry(msgspec.Struct):
    api_key: str
    secret_key: str


class _Keys(msgspec.Struct):
    maker: _KeyEntry
    taker: _KeyEntry


def read_keys(path: Path) -> tuple[Key, Key]:
    """Return the maker's key and the taker's. Raises BadKeyError, which shows nothing of them."""
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=_Keys)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadKeyError(f"{path}: {error}") from None
    pair = Key(keys.maker.api_key, keys.maker.secret_key), Key(keys.taker.api_key, keys.taker.secret_key)
    for key in pair:
        key.sign({})
    return pair
