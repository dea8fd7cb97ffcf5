"""Robust accuracy over the size of an attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from art_snn.plots.style import Picture, band, bare, distinct_labels, legend_where_it_fits, line_style, picture

_Points = list[tuple[float, tuple[float, float, float]]]


def robust_accuracy(
    curves: Mapping[str, Sequence[tuple[float, Any]]] | Sequence[Any],
    *,
    title: str = "",
    xlabel: str = "ε, largest change of an entry (in units of the input)",
    ylabel: str = "robust accuracy (%)",
) -> Picture:
    """Draw the robust accuracy over eps with its 95 % intervals, a curve for each rule or network.

    Args:
        curves: What the legend calls each curve, to its points ``(eps, share)``, in any order; a share has ``value``,
            ``low`` and ``high`` in [0, 1], as `art_snn.evaluation.Proportion` has. Or rows of
            `art_snn.evaluation.evaluate_rules`: a curve for each rule and attack, which begins with the clean accuracy.
            What `art_snn.robustness` returned is a point: ``(result.threat.size, result.robust_accuracy)``.
        title: Title of the picture.
        xlabel: What eps is.
        ylabel: What the shares are, in per cent.

    Raises:
        TypeError: A point is no pair, a share no share, or a row no row.
        ValueError: There is nothing to draw, or a curve has two points at the same eps.
    """
    given = (
        curves if isinstance(curves, Mapping) else _of_rows(list(curves) if isinstance(curves, Iterable) else [curves])
    )
    if not given:
        raise ValueError("curves is empty: there is nothing to draw")
    lines = {label: _points(label, points) for label, points in given.items()}
    figure = picture(6.4, 3.4)
    axes = figure.subplots()
    for number, (label, points) in enumerate(lines.items()):
        places, shares = zip(*points, strict=True)
        band(axes, places, shares, label=label, **line_style(number))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, 103)
    axes.set_title(title, fontsize=10)
    bare(axes)
    legend_where_it_fits(figure, axes)
    return figure


def _points(label: str, points: Sequence[tuple[float, Any]]) -> _Points:
    """Return eps and share of each point, rising in eps."""
    try:
        drawn = sorted((float(eps), _share(share)) for eps, share in points)
    except (TypeError, ValueError, IndexError) as error:
        raise TypeError(f"curves[{label!r}] must hold pairs (eps, share): {error}") from None
    if not drawn:
        raise ValueError(f"curves[{label!r}] is empty: there is nothing to draw")
    places = [eps for eps, _ in drawn]
    twice = [eps for eps in places if places.count(eps) > 1]
    if twice:
        raise ValueError(
            f"curves[{label!r}] has two points at eps {twice[0]:g}; give each network, rule and setting a curve of its "
            "own: a mapping of labels to points"
        )
    return drawn


def _share(share: Any) -> tuple[float, float, float]:
    if all(hasattr(share, end) for end in ("value", "low", "high")):
        return float(share.value), float(share.low), float(share.high)
    value, low, high = share[:3]
    return float(value), float(low), float(high)


def _of_rows(rows: Sequence[Any]) -> dict[str, list[tuple[float, Any]]]:
    """Return the curves of rows: of each rule and attack, with the clean accuracy at 0."""
    for row in rows:
        if not all(hasattr(row, field) for field in ("rule_repr", "attack", "eps", "robust_accuracy")):
            cure = ""
            if hasattr(row, "threat"):  # what `art_snn.robustness` returns
                cure = '; give {"network": [(result.threat.size, result.robust_accuracy) for result in results]}'
            kind = type(row).__name__
            raise TypeError(f"curves must be rows of evaluate_rules, or map labels to points, got {kind}{cure}")
    rules = distinct_labels((row.rule_title, row.rule_repr) for row in rows)
    several = len({row.attack for row in rows}) > 1
    curves: dict[str, list[tuple[float, Any]]] = {}
    for row in rows:
        label = f"{rules[row.rule_repr]}, {row.attack_title}" if several else rules[row.rule_repr]
        start = [(0.0, row.clean_accuracy)] if row.eps else []
        curves.setdefault(label, start).append((row.eps, row.robust_accuracy))
    return curves
