"""From a matplotlib figure to an SVG that stands in a page and follows its colour scheme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Colours that no one would choose stand for the page's CSS variables until the SVG is written:
# matplotlib knows no variables, and the page must be readable on light and on dark.
INK = "#010203"
FAINT = "#010204"
GRID = "#010205"
CARD = "#010206"
STRONG = "#010207"
SECOND = "#010208"
PLAIN = "#010209"

WIDE_RANGE = 8.0
"""From this ratio of largest to smallest on, an axis is logarithmic."""

_VARIABLES = {
    INK: "ink",
    FAINT: "faint",
    GRID: "grid",
    CARD: "card",
    STRONG: "strong",
    SECOND: "second",
    PLAIN: "plain",
}

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    # Names come from outside: a "$" in one is no formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
}


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """The kit's look; `name` seeds the ids, which must differ between the figures of a page."""
    import matplotlib

    # Any: matplotlib types the keys one by one, across versions not the same ones.
    settings: Any = {**_SETTINGS, "svg.hashsalt": f"edgekit {name}"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The reader's fonts draw the text; which glyphs matplotlib's own lacks is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def svg_of(figure: Any, name: str, label: str) -> str:
    """The figure as inline SVG: no metadata, no ids but the used ones, colours as CSS variables.

    Call inside `drawing(name)`. `label` is what a screen reader says.
    """
    from markupsafe import escape
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata=nothing)
    text = buffer.getvalue()
    # The prolog names a DTD on the web, and an inline SVG needs none.
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    keep = {one or other for one, other in used}
    # matplotlib numbers groups from 1 in each figure: on one page these ids would collide.
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in keep else "", text)
    width, height = (float(size) * 96 for size in figure.get_size_inches())
    head = (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width * 0.75:g} '
        f'{height * 0.75:g}" style="--width: {width:.0f}px" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return head + text[text.index(">") + 1 :].rstrip()


def cost_axis(axes: Any, least: float, most: float) -> None:
    """Scale the x axis of a positive quantity: from 0, close-up, or logarithmic."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if least > 0 and most / least >= WIDE_RANGE:
        axes.set_xscale("log")
        # Few ticks over many decades, more within one.
        steps = (1.0, 2.0, 5.0) if most / least < 1e3 else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(least / 1.5, most * 1.7)
    elif least > 0 and 1.01 < most / least < 1.5:
        # From 0 these would be one heap.
        axes.set_xlim(least - 0.3 * (most - least), most + 0.3 * (most - least))
    else:
        axes.set_xlim(0, 1.15 * most if most > 0 else 1)
