"""What all pictures share: colours that colour-blind people can tell apart, and a figure that notebooks show."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is hard to see on white.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = COLOURS = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
)
CURVES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")

BAND = 0.1  # how little of the background the band of a curve hides
_SHORT = 22  # letters of a label that stands beside the axes
_SHARP = 2  # pixels of a picture in a notebook for each that it takes there


class Picture(Figure):
    """A figure that notebooks show by themselves, also where pyplot was never imported."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return a PNG, and how large it is shown."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_SHARP * self.dpi)
        width, height = (self.get_size_inches() * self.dpi).round().astype(int).tolist()
        return buffer.getvalue(), {"width": width, "height": height}


def picture(width: float, height: float) -> Picture:
    """Return an empty figure of a size in inches, white whatever the page's background is."""
    return Picture(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def bare(axes: Any) -> None:
    """Take the upper and the right frame away, and make the numbers at the axes small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def line_style(number: int) -> dict[str, Any]:
    """Return colour, marker and dashes of a curve, by its number; 28 differ."""
    return {
        "color": CURVES[number % len(CURVES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(CURVES) % len(DASHES)],
        "markersize": 4,
    }


def band(axes: Any, places: Sequence[float], shares: Sequence[Any], **style: Any) -> None:
    """Draw shares over places as a curve in per cent, with its interval as a band.

    Args:
        axes: Where to draw.
        places: Where each share is, rising.
        shares: Shares in [0, 1], each ``(value, low, high, ...)``.
        **style: Options of the curve, such as ``label``.
    """
    values, low, high = ([100 * share[end] for share in shares] for end in range(3))
    (line,) = axes.plot(places, values, **style)
    axes.fill_between(places, low, high, color=line.get_color(), alpha=BAND, linewidth=0)


def legend_beside(axes: Any) -> None:
    """Put a legend to the right of the axes."""
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def legend_where_it_fits(figure: Any, axes: Any) -> None:
    """Put a legend beside the axes, or below them where labels are long."""
    handles, labels = axes.get_legend_handles_labels()
    if max(map(len, labels)) <= _SHORT:
        legend_beside(axes)
    else:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=1 + (len(labels) > 2), frameon=False, fontsize=8
        )


def distinct_labels(names: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Return for each last name the first of its names, which are given from short to long, that is no other's.

    Example:
        >>> distinct_labels([("HART", "HART(gamma=0.5)"), ("HART", "HART(gamma=1.0)"), ("STBP", "STBP()")])
        {'HART(gamma=0.5)': 'HART(gamma=0.5)', 'HART(gamma=1.0)': 'HART(gamma=1.0)', 'STBP()': 'STBP'}
    """
    several = list(dict.fromkeys(names))
    labels = {}
    for each in several:
        free = [name for i, name in enumerate(each) if sum(other[i] == name for other in several) == 1]
        labels[each[-1]] = free[0] if free else each[-1]
    return labels
