"""Matplotlib figures as inline SVG that takes its colours from the page, light or dark."""

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcmc.diagnostics.plot import BAD, CARE, CHAINS, GOOD, INK, QUIET

LINE = "#d0d7de"
SURFACE = "#ffffff"
VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    GOOD: "--good",
    BAD: "--bad",
    CARE: "--care",
    LINE: "--line",
    SURFACE: "--surface",
    **{colour: f"--chain-{i}" for i, colour in enumerate(CHAINS)},
}
"""Colours used in drawing, and the CSS variables that replace them."""


@dataclass(frozen=True)
class Panel:
    """One picture of the page, or the reason why there is none."""

    title: str
    svg: Any = None
    """Markup, or None."""
    note: str = ""
    """What to see in it, or why it is missing."""


class Sketch:
    """A figure with one axis, its margins in inches, its names kept apart so that nobody's text is drawn as is."""

    def __init__(
        self, width: float = 3.5, height: float = 1.75, left: float = 0.42, bottom: float = 0.22, top: float = 0.08
    ):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(width, height), facecolor="none")
        FigureCanvasSVG(self.figure)
        right = 0.12
        place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
        self.axis = self.figure.add_axes(place, facecolor="none")
        for side in ("top", "right", "left"):
            self.axis.spines[side].set_visible(False)
        self.axis.spines["bottom"].set_color(LINE)
        self.axis.tick_params(which="both", colors=QUIET, labelsize=8, length=2, pad=2)
        self.axis.margins(x=0)
        self.names: list[str] = []

    def name(self, text: str, most: int = 30) -> str:
        """Return a placeholder to draw in place of a text that isn't ours."""
        half = most // 2 - 1
        self.names.append(text if len(text) <= most else f"{text[:half]}…{text[-half:]}")
        return f"name{len(self.names) - 1}x"

    def svg(self, label: str, salt: str) -> Any:
        """Render: no metadata, no ids but those referred to, colours as variables, two decimals."""
        import matplotlib
        from markupsafe import Markup

        out = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": ascii(salt)}):
            warnings.simplefilter("ignore", UserWarning)
            self.figure.savefig(out, format="svg", metadata=nothing, transparent=True)
        return Markup(_inline(out.getvalue(), label, self.names))


def _inline(svg: str, label: str, names: Sequence[str]) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    referred = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in referred else "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(\.\d\d)\d+", r"\1", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var({VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = re.sub(r"name(\d+)x", lambda match: html.escape(names[int(match[1])]), svg)
    return svg.replace("<svg ", f'<svg aria-label="{html.escape(label)}" ', 1)
