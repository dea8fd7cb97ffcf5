"""Builders of spiking networks, by the papers' names."""

from art_snn.snn.models.digits import digits_net
from art_snn.snn.models.published import load_published_state
from art_snn.snn.models.resnet import resnet17
from art_snn.snn.models.table import Architecture, architecture_names, get_architecture, register_architecture
from art_snn.snn.models.vgg import vgg11, vgg_dvs, vgg_small

__all__ = [
    "Architecture",
    "architecture_names",
    "digits_net",
    "get_architecture",
    "load_published_state",
    "register_architecture",
    "resnet17",
    "vgg11",
    "vgg_dvs",
    "vgg_small",
]
