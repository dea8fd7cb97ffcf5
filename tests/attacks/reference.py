"""SA-PGD and APGD, slowly and in float64, one sample after the other, from the formulas of their papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Gradient = Callable[[np.ndarray], tuple[np.ndarray, float]]  # of the loss at a point, and the loss


def schedule(steps: int) -> list[int]:
    """Croce & Hein's checkpoints: p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    shares = [0.0, 0.22]
    while True:
        share = shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06)
        if share > 1 + 1e-9:
            return [math.ceil(round(p * steps, 6)) for p in shares]
        shares.append(share)


def single(x: np.ndarray) -> np.ndarray:
    """Iterates are kept in float32."""
    return x.astype(np.float32).astype(np.float64)


def sa_pgd(gradient: Gradient, x: np.ndarray, start: np.ndarray, *, eps: float, steps: int) -> list[np.ndarray]:
    """Return the iterates x_0 to x_N of inputs in [0, 1]."""
    low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
    iterates, m, v, eta = [single(start)], None, None, eps
    for i in range(steps):
        if i in schedule(steps)[1:]:
            eta /= 2
        g, _ = gradient(iterates[-1])
        g_hat, q_hat = g / np.abs(g).mean(), g**2 / (g**2).mean()
        m = g_hat if m is None else 0.5 * m + g_hat
        v = q_hat if v is None else 0.8 * v + q_hat
        change = np.clip(eta * m / (np.sqrt(v) + 1e-12), -eta, eta)
        iterates.append(single(np.clip(iterates[-1] + change, low, high)))
    return iterates


def above(loss: float, other: float) -> bool:
    """Whether a loss is larger by more than rounding in float32."""
    return loss > other + 1e-6 * max(1, abs(other))


def apgd(gradient: Gradient, x: np.ndarray, start: np.ndarray, *, eps: float, steps: int) -> list[np.ndarray]:
    """Return the points x_0 to x_N that the gradient is taken at, those gone back to left out."""
    low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
    marks = sorted(set(schedule(steps)))
    current, before, eta = single(start), single(start), 2 * eps
    g, loss = gradient(current)
    losses, points = [loss], [current]
    best, best_g, best_loss = current, g, loss
    checked_loss, halved_before = loss, False
    for k in range(steps):
        z = single(np.clip(current + eta * np.sign(g), low, high))
        alpha = 1.0 if k == 0 else 0.75
        new = single(np.clip(current + alpha * (z - current) + (1 - alpha) * (current - before), low, high))
        before, current = current, new
        g, loss = gradient(current)
        points.append(current)
        losses.append(loss)
        if above(loss, best_loss):
            best, best_g, best_loss = current, g, loss
        if k + 1 in marks:
            last = marks[marks.index(k + 1) - 1]
            rises = sum(above(losses[i + 1], losses[i]) for i in range(last, k + 1))
            halve = rises < 0.75 * (k + 1 - last) or (not halved_before and checked_loss == best_loss)
            if halve:
                eta /= 2
                current, g = best, best_g
            checked_loss, halved_before = best_loss, halve
    return points
