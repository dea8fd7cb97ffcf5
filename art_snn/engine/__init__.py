"""The engine: run a network under autograd so that its graph holds a gradient rule."""

from art_snn.engine.module import GradientRuleModule, attack_logits, rule_logits
from art_snn.engine.recording import record, record_distances, simulate

__all__ = ["GradientRuleModule", "attack_logits", "record", "record_distances", "rule_logits", "simulate"]
