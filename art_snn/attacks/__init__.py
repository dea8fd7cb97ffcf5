"""Attacks as values, as rules are: frozen specs that make ART's attack objects, and a registry.

An attack is a frozen dataclass that derives from `Attack` and registers itself; a new one is a file and a line below.
"""

from art_snn.attacks.base import Attack
from art_snn.attacks.event_changes import Retimed, flips, retimed
from art_snn.attacks.found import Found
from art_snn.attacks.registry import attack_names, make_attack, register_attack

# In the order of tables.
from art_snn.attacks.gradient import FGSM, PAPER_STEP, PAPER_STEPS, PGD, ClipOnly  # isort: skip
from art_snn.attacks.sa_pgd import SAPGD, SAPGDSpec  # isort: skip
from art_snn.attacks.apgd import APGD, APGDSpec  # isort: skip
from art_snn.attacks.sparse import SDASpec, SparseDynamicAttack  # isort: skip
from art_snn.attacks.retiming import RetimingSpec, SpikeRetiming  # isort: skip

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
    "Retimed",
    "RetimingSpec",
    "SAPGDSpec",
    "SDASpec",
    "SparseDynamicAttack",
    "SpikeRetiming",
    "attack_names",
    "flips",
    "make_attack",
    "register_attack",
    "retimed",
]
