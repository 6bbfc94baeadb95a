"""The look of all figures. No pyplot, so nothing global is touched."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

DPI = 150
GREY = "0.45"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito

Name = TypeVar("Name", bound=Hashable)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, `width` by `height` inches."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05))
    FigureCanvasAgg(figure)
    return figure


def tidy(ax: Axes, title: str, ylabel: str, xlabel: str = "") -> Axes:
    """Title, labels and a light frame."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.set_ylabel(ylabel, fontsize=9.5)
    if xlabel:
        ax.set_xlabel(xlabel, fontsize=9.5)
    ax.tick_params(labelsize=9, color=GREY)
    ax.grid(axis="y", color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    return ax


def quarter_axis(ax: Axes, label: str = "quarter") -> Axes:
    """Whole quarters along the axis."""
    ax.set_xlabel(label, fontsize=9.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def legend_below(figure: Figure, handles: Sequence[Artist], fontsize: float) -> None:
    """One legend for all panels, in six columns at most."""
    ncols = min(6, len(handles))
    figure.legend(handles=handles, loc="outside lower left", ncols=ncols, frameon=False, fontsize=fontsize)


def colors(names: Sequence[Name]) -> dict[Name, str]:
    """A colour for each name: well apart for up to seven, from a colour map beyond; colour-blind readers see all."""
    if len(names) <= len(COLORS):
        return dict(zip(names, COLORS, strict=False))
    return {name: to_hex(colormaps["viridis"](0.95 * index / (len(names) - 1))) for index, name in enumerate(names)}


def save(figure: Figure, path: str | Path) -> Path:
    """Writes `figure` as an image and returns where; folders are made as needed. The same figure, the same file.

    It is laid out when it is first saved, and stays so.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout := figure.get_layout_engine():  # once, where matplotlib would draw everything once more for it
        figure.set_dpi(DPI)
        layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(path, dpi=DPI, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
    return path
