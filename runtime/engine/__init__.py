"""The matching engine of one market group."""

from typing import Final

from runtime.shared.builds import BUILDS

IS_COMPILED: Final = BUILDS["engine"].take(__path__)
"""Whether this process runs the compiled core."""
