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
"""Firewalls between egress and public."""
