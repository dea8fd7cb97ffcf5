"""The engine: run a network under autograd so that its graph holds a gradient rule."""

from art_snn.engine.module import GradientRuleModule
from art_snn.engine.recording import record
from art_snn.engine.run import attack_logits, rule_logits, simulate

__all__ = ["GradientRuleModule", "attack_logits", "record", "rule_logits", "simulate"]
