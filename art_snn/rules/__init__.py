"""Gradient rules: one file a paper, three families, a registry.

A rule is a frozen dataclass that derives from `RateRule`, `TemporalRule` or `ConversionRule` and registers itself. A
new one is one file and one line below; nothing else in the package has to know it.
"""

from art_snn.rules.base import ConversionRule, GradientRule, LayerRecord, RateRule, TemporalRule
from art_snn.rules.registry import get_rule, register_rule, rule_names

# In the order of tables.
from art_snn.rules.hart import HART  # isort: skip
from art_snn.rules.stbp import STBP  # isort: skip
from art_snn.rules.rga import RGA  # isort: skip
from art_snn.rules.bptr import BPTR  # isort: skip
from art_snn.rules.rate import RateGradient  # isort: skip
from art_snn.rules.cba import CBA  # isort: skip
from art_snn.rules.assg import ASSG, HARTASSG  # isort: skip
from art_snn.rules.pdsg import PDSG  # isort: skip
from art_snn.rules.annealed import Annealed  # isort: skip

# That the HART paper compares, in the order of tables.
PAPER_RULES = ("hart", "stbp", "rga", "bptr", "rate", "cba")

__all__ = [
    "ASSG",
    "BPTR",
    "CBA",
    "HART",
    "HARTASSG",
    "PAPER_RULES",
    "PDSG",
    "RGA",
    "STBP",
    "Annealed",
    "ConversionRule",
    "GradientRule",
    "LayerRecord",
    "RateGradient",
    "RateRule",
    "TemporalRule",
    "get_rule",
    "register_rule",
    "rule_names",
]
