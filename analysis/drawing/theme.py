"""Colours, markers and sizes of all figures."""

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)  # no prefix before the names of SVG's elements
WIDTH = 11.0  # inches, about the width of the report's column, so that text has its true size there
INK = "#2b2b2b"  # the colour of text and of data without a colour of their own
QUIET = "#767676"  # the colour of lines and words that stay in the background
# (colour, marker) by algorithm. The colours are those of Okabe & Ito for colour-blind readers, and in FURTHER also
# those of Tol's muted scheme. The markers differ, too, for print in black and white.
KNOWN = {
    "reinforce": ("#6b6b6b", "o"),
    "reinforce_baseline": ("#56b4e9", "s"),
    "actor_critic": ("#e69f00", "^"),
    "a2c": ("#009e73", "D"),
    "ppo": ("#d55e00", "P"),
}
FURTHER = [  # for algorithms outside the ladder
    ("#0072b2", "X"),
    ("#cc79a7", "v"),
    ("#332288", "<"),
    ("#999933", ">"),
    ("#882255", "p"),
    ("#44aa99", "h"),
    ("#ddcc77", "*"),
    ("#aa4499", "d"),
    ("#117733", "8"),
]
# Rounds through FURTHER: how its colours are mixed with black (0) or white (1), by which share, and the line.
ROUNDS = [(0, 0.0, "-"), (0, 0.45, (0, (5, 1.5))), (1, 0.4, (0, (1.2, 1.2)))]
NEXT_MARKER = 4  # so many places of FURTHER on is the marker of a colour in the next round
MOST_LOOKS = 24  # algorithms that can be told apart in one figure; of more, each group of so many has its own figure
PHASE_COLOURS = {  # of the parts of a run's time
    "start_up": "#c9c9c9",
    "stepping": "#3d4f63",
    "acting": "#7690a8",
    "learning": "#d9a25f",
    "compiling": "#f0d9b5",
    "rest": "#b3c2d0",
    "evaluating": "#e4e8ec",
}
SIDE_COLOURS = {
    "bare": QUIET,
    "ours": "#d55e00",
    "base": "#e69f00",
    "peer": "#0072b2",
}  # of the benchmark's contestants


@dataclass(frozen=True)
class Look:
    """The colour, the marker and the line of an algorithm in all figures."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]] = "-"


WHOLE: ContextVar[tuple[str, ...]] = ContextVar("WHOLE", default=())  # the algorithms of the whole grid, see looks_of


@contextmanager
def looks_of(algorithms: list[str]) -> Iterator[None]:
    """Within it, some of these algorithms have the looks that they have among all of these."""
    token = WHOLE.set(tuple(algorithms))
    try:
        yield
    finally:
        WHOLE.reset(token)


def looks(algorithms: list[str]) -> dict[str, Look]:
    """The look of each algorithm, by name.

    The algorithms of the ladder have fixed looks. The others get those of FURTHER in the order of `algorithms`, then
    those of further rounds, which differ in colour, marker and line. Each group of MOST_LOOKS begins anew.
    """
    found = {}
    for group in groups(list(WHOLE.get()) or algorithms):
        others = [name for name in group if name not in KNOWN]
        further = {name: further_look(index) for index, name in enumerate(others)}
        found |= {name: Look(*KNOWN[name]) if name in KNOWN else further[name] for name in group}
    return {name: found[name] for name in algorithms}


def groups(algorithms: list[str]) -> list[list[str]]:
    """The algorithms in groups of at most MOST_LOOKS, each of which has a figure."""
    return [algorithms[start : start + MOST_LOOKS] for start in range(0, max(len(algorithms), 1), MOST_LOOKS)]


def further_look(index: int) -> Look:
    """The look of an algorithm outside the ladder by its place among them."""
    ahead, place = divmod(index, len(FURTHER))
    end, share, line = ROUNDS[ahead]
    colour = FURTHER[place][0]
    if share:
        colour = to_hex((1 - share) * np.array(to_rgb(colour)) + share * end)
    return Look(colour, FURTHER[(place + NEXT_MARKER * ahead) % len(FURTHER)][1], line)


def apply() -> None:
    """Set the parameters of seaborn and matplotlib for all figures.

    Text stays text in SVG files and is drawn as it is written, also between dollars; equal tables give equal bytes.
    """
    matplotlib.use("agg")
    sns.set_theme(
        context="paper",
        style="ticks",
        rc={
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#8a8a8a",
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#ececec",
            "grid.linewidth": 0.8,
            "text.color": INK,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "figure.dpi": 100,
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "policy-gradient-ladder",
            "pdf.fonttype": 42,  # TrueType: text can be searched, and journals take it
        },
    )


def image_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a file without a date; `kind` is "svg" or "png"."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()


def stacked(images: list[bytes], kind: str) -> bytes:
    """Images of one kind, "svg" or "png", as one image in which they stand one below the other."""
    if len(images) == 1:
        return images[0]
    if kind == "png":
        buffer = io.BytesIO()
        parts = [imread(io.BytesIO(image), format="png") for image in images]
        width = max(part.shape[1] for part in parts)
        whole = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=1) for part in parts]
        imsave(buffer, np.concatenate(whole), format="png", dpi=160)
        return buffer.getvalue()
    nested, width, height = [], 0.0, 0.0
    for image in images:
        own = ElementTree.fromstring(image)
        size = [float(own.get(name).removesuffix("pt")) for name in ("width", "height")]
        for name, value in zip(("width", "height", "y"), (*size, height), strict=True):
            own.set(name, f"{value:g}")
        nested.append(ElementTree.tostring(own, encoding="unicode"))
        width, height = max(width, size[0]), height + size[1]
    box = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg xmlns="{SVG}" {box}>\n{"".join(nested)}\n</svg>\n'.encode()
