"""All rows of the table."""

from tests.compatibility import evasion, others, processing
from tests.compatibility.table import Item

ROWS: list[Item] = [*evasion.TABLE, *others.TABLE, *processing.TABLE]
