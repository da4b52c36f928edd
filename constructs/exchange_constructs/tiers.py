"""The tiers of the network, by the names of their subnets."""

from typing import Final

PUBLIC: Final = "Public"
"""Load balancers and NAT gateways."""
APPLICATION: Final = "Application"
"""Services and functions: no route out."""
DATA: Final = "Data"
"""Stores: no route out."""
EGRESS: Final = "Egress"
"""Services that call a few named hosts outside."""
INSPECTION: Final = "Inspection"
"""Firewalls, which a route leads through."""
ATTACHMENT: Final = "Attachment"
"""Where a transit gateway arrives in the DMZ of partners."""
ENTRANCE: Final = "Entrance"
"""Where partners in the DMZ find the exchange."""
