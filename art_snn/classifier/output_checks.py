"""Do logits tell the classes apart? Those of a network that ends in spikes are counts, of which there are few."""

from __future__ import annotations

import numpy as np

from art_snn.errors import GradientWarning
from art_snn.ranges import Once

# Share of samples above which a warning comes: so far may the accuracy move with the order of the classes, and that is
# what the 95 % interval of 400 samples leaves open, too. Networks that do not end in spikes have no tie at all.
MOST_TIED = 0.05
LEAST_SAMPLES = 32  # fewer show no share of 5 %


def tied_largest(logits: np.ndarray) -> np.ndarray:
    """Say for each sample of logits (N, K), K > 1, whether two classes share the largest, (N,).

    Example:
        >>> tied_largest(np.array([[2.0, 1.0, 2.0], [0.0, 1.0, 0.0]])).tolist()
        [True, False]
    """
    first, second = np.partition(logits, -2, axis=1)[:, :-3:-1].T
    return first == second


def warn_of_ties(logits: np.ndarray, once: Once) -> None:
    """Warn once of logits (N, K) of spikes whose largest tie in more than `MOST_TIED` of at least `LEAST_SAMPLES`.

    Where all K are the same, no neuron of the last layer fires, or all fire in every step.
    """
    if len(logits) < LEAST_SAMPLES or logits.shape[1] < 2 or "ties" in once.told:
        return
    share = float(tied_largest(logits).mean())
    if share <= MOST_TIED:
        return
    lowest, highest = logits.min(1), logits.max(1)
    silent, full = (float(((lowest == highest) & of).mean()) for of in (highest == 0, highest != 0))
    text = (
        f"two classes share the largest logit in {share:.0%} of {len(logits)} samples: the smaller index is predicted "
        f"there, and whether an attack succeeds depends on the order of the classes.{_saturated(silent, full)} The "
        "network seems to end in spikes, whose rates or counts are few. Use more time-steps, read the membrane "
        "potentials of the last layer, or end it with a layer that does not spike"
    )
    once.warn("ties", text, GradientWarning, stacklevel=3)


def _saturated(silent: float, full: float) -> str:
    found = [
        f"{share:.0%} {what}"
        for share, what in ((silent, "no class has a spike"), (full, "all have the same, as where all always fire"))
        if share > 0
    ]
    return f" In {', and in '.join(found)}." if found else ""
