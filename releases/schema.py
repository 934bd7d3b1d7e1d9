"""What a version does to the data that its application keeps, as whoever registers it declares. Pure."""

from enum import StrEnum


class SchemaChange(StrEnum):
    """`none`: nothing. `expand`: adds what the version before does not mind. `contract`: takes away what the version
    before needs. `irreversible`: what it takes away or rewrites cannot be had again but from a backup.
    """

    NONE = "none"
    EXPAND = "expand"
    CONTRACT = "contract"
    IRREVERSIBLE = "irreversible"


ONE_WAY = (SchemaChange.CONTRACT, SchemaChange.IRREVERSIBLE)
"""After these the code of before cannot be counted on to work any more."""
