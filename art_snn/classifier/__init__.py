"""ART's door: the classifier that ART's attacks, defences, trainers and metrics take."""

from art_snn.classifier.event_frames import for_event_frames
from art_snn.classifier.pytorch import PyTorchSNNClassifier

__all__ = ["PyTorchSNNClassifier", "for_event_frames"]
