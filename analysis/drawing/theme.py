"""Colours, markers and sizes of all figures."""

import io
from dataclasses import dataclass

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

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
PHASE_COLOURS = {  # of the parts of a run's time
    "start_up": "#c9c9c9",
    "stepping": "#3d4f63",
    "acting": "#7690a8",
    "learning": "#d9a25f",
    "compiling": "#f0d9b5",
    "rest": "#b3c2d0",
    "evaluating": "#e4e8ec",
}
SIDE_COLOURS = {"bare": QUIET, "ours": "#d55e00", "peer": "#0072b2"}  # of the benchmark's contestants


@dataclass(frozen=True)
class Look:
    """The colour and the marker of an algorithm in all figures."""

    colour: str
    marker: str


def looks(algorithms: list[str]) -> dict[str, Look]:
    """The look of each algorithm, by name.

    The algorithms of the ladder have fixed looks. The others get those of FURTHER in the order of `algorithms`, and
    share looks if there are more of them.
    """
    others = [name for name in algorithms if name not in KNOWN]
    further = {name: FURTHER[index % len(FURTHER)] for index, name in enumerate(others)}
    return {name: Look(*(KNOWN.get(name) or further[name])) for name in algorithms}


def apply() -> None:
    """Set the parameters of seaborn and matplotlib for all figures.

    Text stays text in SVG files, and equal tables give equal bytes.
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
            "svg.fonttype": "none",
            "svg.hashsalt": "policy-gradient-ladder",
        },
    )


def image_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a file without a date; `kind` is "svg" or "png"."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()
