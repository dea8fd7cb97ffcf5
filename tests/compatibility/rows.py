"""All rows of the table."""

from tests.compatibility import (
    black_box,
    certification,
    detectors,
    evasion,
    inference,
    metrics,
    poisoning,
    processing,
    trainers,
)
from tests.compatibility.table import Item

# In the order of the page.
FAMILIES = (evasion, black_box, inference, poisoning, detectors, trainers, metrics, certification, processing)
ROWS: list[Item] = [item for family in FAMILIES for item in family.TABLE]
