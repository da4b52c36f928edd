"""The public API: REST, WebSocket API and market streams."""

from typing import Final

from runtime.shared.builds import BUILDS

IS_COMPILED: Final = BUILDS["gateway"].take(__path__)
"""Whether this process runs the compiled path of an order."""
