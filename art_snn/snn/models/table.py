"""The architectures by name."""

from __future__ import annotations

from collections.abc import Callable

from art_snn.snn.models import digits_net, resnet17, vgg11, vgg_dvs, vgg_small
from art_snn.snn.network import SpikingNetwork

DIGITS_NET, VGG_SMALL, VGG_DVS = "digits_net", "vgg_small", "vgg_dvs"


ARCHITECTURES: dict[str, Callable[..., SpikingNetwork]] = {
    DIGITS_NET: digits_net,
    VGG_SMALL: vgg_small,
    "vgg11": vgg11,
    "resnet17": resnet17,
    VGG_DVS: vgg_dvs,
}


# What tables and figures call them.
TITLES = {
    DIGITS_NET: "digits network",
    VGG_SMALL: "small VGG",
    "vgg11": "VGG-11",
    "resnet17": "ResNet-17",
    VGG_DVS: "VGG-DVS",
}

NORMALIZING = ("vgg11", "resnet17")  # by CIFAR-10's mean and std, three channels, unless others are given

CIFAR100_STATISTICS = {"mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
