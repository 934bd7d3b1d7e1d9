"""The host bed: hosts with a real systemd, a disk and a network of their own each, on one machine. Needs root."""

from tests.system.bed.bed import Bed, why_not
from tests.system.bed.calls import BedError
from tests.system.bed.host import BedHost

__all__ = ["Bed", "BedError", "BedHost", "why_not"]
