"""Builders of spiking networks, by the papers' names."""

from art_snn.models.small import digits_net
from art_snn.models.vgg import vgg11
from art_snn.models.vgg_small import vgg_small

__all__ = ["digits_net", "vgg11", "vgg_small"]
