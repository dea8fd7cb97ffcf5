"""Attacks as values, as rules are: frozen specs that make ART's attack objects, and a registry.

An attack is a frozen dataclass that derives from `Attack` and registers itself; a new one is a file and a line below.
"""

from art_snn.attacks.base import Attack
from art_snn.attacks.found import Found
from art_snn.attacks.registry import attack_names, make_attack, register_attack

# In the order of tables.
from art_snn.attacks.gradient import FGSM, PAPER_STEP, PAPER_STEPS, PGD, ClipOnly  # isort: skip
from art_snn.attacks.sa_pgd import SAPGD, SAPGDSpec  # isort: skip
from art_snn.attacks.apgd import APGD, APGDSpec  # isort: skip

__all__ = [
    "APGD",
    "FGSM",
    "PAPER_STEP",
    "PAPER_STEPS",
    "PGD",
    "SAPGD",
    "APGDSpec",
    "Attack",
    "ClipOnly",
    "Found",
    "SAPGDSpec",
    "attack_names",
    "make_attack",
    "register_attack",
]
