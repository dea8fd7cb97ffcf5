"""Clear errors, before any work, where a class of ART cannot take event frames (N, T, C, H, W).

ART's image attacks fail on five axes somewhere inside, or misread them. ART has no hook for an estimator to refuse an
attack, so the constructors of the classes below are wrapped, when the first event-frame classifier is made. A wrapped
constructor looks at its arguments, raises if one of them is a model for event frames, and is ART's own otherwise.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from art.estimators import BaseEstimator
from torch import nn

from art_snn.errors import UnsupportedInputError
from art_snn.snn.encoders import EventFrameEncoder

logger = logging.getLogger(__name__)

# From the arguments of a constructor to the reason against it, or None.
Reason = Callable[[Mapping[str, Any]], str | None]


def _always(reason: str) -> Reason:
    return lambda arguments: reason


def _simba(arguments: Mapping[str, Any]) -> str | None:
    return None if arguments.get("attack") == "px" else "its cosine transform is one of images; attack='px' works"


def _zoo(arguments: Mapping[str, Any]) -> str | None:
    if arguments.get("use_resize") or arguments.get("use_importance"):
        return "it resizes and samples images; use_resize=False with use_importance=False works"
    return None


_EVASION = "art.attacks.evasion"
_SMOOTHING = "art.estimators.certification.randomized_smoothing"

# Module and class of ART to what stands against event frames.
REFUSED: dict[tuple[str, str], Reason] = {
    (_EVASION, "CarliniL0Method"): _always("its masks of pixels to keep are made for images (C, H, W)"),
    (_EVASION, "CompositeAdversarialAttackPyTorch"): _always("it turns and recolours RGB images (3, H, W)"),
    (_EVASION, "GRAPHITEBlackbox"): _always("it lays printed masks over images (C, H, W)"),
    (_EVASION, "GRAPHITEWhiteboxPyTorch"): _always("it lays printed masks over images (C, H, W)"),
    (_EVASION, "GeoDA"): _always("its subspace is spanned by cosine transforms of square images (C, H, W)"),
    (_EVASION, "LaserAttack"): _always("it paints light beams on RGB images"),
    (_EVASION, "OverTheAirFlickeringPyTorch"): _always(
        "it takes five axes for video with the channels last, (N, T, H, W, C), and would misread (N, T, C, H, W)"
    ),
    (_EVASION, "PixelAttack"): _always("it searches for single pixels of images (C, H, W)"),
    (_EVASION, "ShadowAttack"): _always("its smoothness terms are those of images (C, H, W)"),
    (_EVASION, "SimBA"): _simba,
    (_EVASION, "SpatialTransformation"): _always("it turns and shifts images (C, H, W)"),
    (_EVASION, "SquareAttack"): _always(
        "it draws squares into images (C, H, W); AutoAttack takes a list of attacks without it, attacks=[...]"
    ),
    (_EVASION, "ThresholdAttack"): _always("it searches for single pixels of images (C, H, W)"),
    (_EVASION, "Wasserstein"): _always("it moves mass between the pixels of images (C, H, W)"),
    (_EVASION, "ZooAttack"): _zoo,
    ("art.attacks.poisoning", "SleeperAgentAttack"): _always("it puts its trigger into images (C, H, W)"),
    ("art.estimators.classification", "DetectorClassifier"): _always("it scales the gradients of images (C, H, W)"),
    (_SMOOTHING, "PyTorchMACER"): _always("it repeats images (C, H, W) for its noise"),
    (_SMOOTHING, "PyTorchSmoothMix"): _always("it mixes images (C, H, W)"),
}


def takes_event_frames(estimator: Any) -> bool:
    """Say whether a classifier or a model is one for event frames (N, T, C, H, W), or ART's wrapper around such."""
    model = estimator if isinstance(estimator, nn.Module) else getattr(estimator, "model", None)
    if isinstance(getattr(getattr(model, "network", None), "encoder", None), EventFrameEncoder):
        return True
    return any(takes_event_frames(inner) for inner in _inside(estimator))


def _inside(estimator: Any) -> list[Any]:
    """Return the estimators that an estimator of ART is made of, as ensembles and smoothed classifiers are."""
    if not isinstance(estimator, BaseEstimator):
        return []
    inner = [getattr(estimator, name, None) for name in ("classifier", "_classifier")]
    return [*(getattr(estimator, "classifiers", None) or ()), *(one for one in inner if one is not None)]


def install() -> None:
    """Wrap the constructors of `REFUSED`, once; what the installed ART lacks is passed over."""
    for (module, name), reason in REFUSED.items():
        cls = getattr(_module(module), name, None)
        if isinstance(cls, type):
            _wrap(cls, reason)
        else:
            logger.info("this version of ART has no %s.%s: it is not guarded against event frames", module, name)


def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise  # something that the module needs is missing


def _wrap(cls: type, reason: Reason) -> None:
    constructor = cls.__init__  # type: ignore[misc]
    if hasattr(constructor, "_art_snn_guard"):
        return
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        own = type(self).__module__.split(".")[0] == "art"  # a user's subclass may know better
        if own and any(takes_event_frames(value) for value in (*args, *kwargs.values())):
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            why = reason(bound.arguments)
            if why is not None:
                raise UnsupportedInputError(f"{type(self).__name__} cannot take event frames (N, T, C, H, W): {why}")
        constructor(self, *args, **kwargs)

    guarded._art_snn_guard = True  # type: ignore[attr-defined]
    cls.__init__ = guarded  # type: ignore[misc]
