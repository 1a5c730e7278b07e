"""The figures of the recorded benchmarks, by the name of the benchmark's file."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from drawing import (
    COLORS,
    MARKERS,
    QUIET,
    by_name,
    drawn,
    height_of,
    logarithmic,
    ranges,
    side_by_side,
    title,
)
from recorded import Row

OURS = "Unitary"
"""What the names of this library's layers begin with."""


def training_step(found: Row) -> str:
    """The time of a step of each network, for each case."""
    threads = max(int(key.split("_")[2]) for key in found["times"][0] if key.startswith("ms_on"))
    figures = []
    for case, rows in _by(found["times"], "case").items():
        rows = sorted(rows, key=lambda row: row[f"ms_on_{threads}_threads"])
        names = [row["step"] for row in rows]
        label = f"Milliseconds of a training step, {case}"
        with drawn(label, height_of(len(rows))) as (axes, figure):
            times = [row[f"ms_on_{threads}_threads"] for row in rows]
            colors = [COLORS[0] if name.startswith(OURS) else QUIET for name in names]
            axes.barh(range(len(rows)), times[::-1], color=colors[::-1], height=0.62)
            by_name(axes, names)
            _numbers(axes, times)
            title(axes, case)
            axes.set_xlabel("ms")
        figures += figure
    return side_by_side(
        figures,
        f"Time of one training step on {threads} threads, in milliseconds; the layers of this "
        "library are in colour.",
    )


def scan_speed(found: Row) -> str:
    """How much longer the others take for a recurrence, by the kind of case, and the structured."""
    threads = max(row["threads"] for row in found["speed"])
    kinds: dict[str, dict[str, list[Row]]] = defaultdict(dict)
    for row in found["speed"]:
        if row["threads"] == threads and row["against"] != "GEMM limit":
            kind, _, size = row["case"].rpartition(", ")
            kinds[kind].setdefault(size, []).append(row)
    peers = list(dict.fromkeys(r["against"] for k in kinds.values() for s in k.values() for r in s))
    figures = []
    for kind, sizes in kinds.items():
        label = f"Time of other implementations divided by ours, {kind}"
        with drawn(label, height_of(len(sizes)) + 0.55) as (axes, figure):
            for peer in peers:
                points = [
                    (row["ratio"], len(sizes) - 1 - y)
                    for y, rows in enumerate(sizes.values())
                    for row in rows
                    if row["against"] == peer
                ]
                if points:
                    i = peers.index(peer)
                    axes.plot(
                        *zip(*points, strict=True), ls="none", color=COLORS[i % len(COLORS)],
                        marker=MARKERS[i % len(MARKERS)], markersize=5, label=peer,
                    )  # fmt: skip
            axes.axvline(1, color=QUIET, lw=1)
            logarithmic(axes, "x")
            by_name(axes, list(sizes))
            title(axes, kind)
            axes.set_xlabel("times ours")
            _legend(axes)
        figures += figure
    caption = (
        f"Time of each implementation divided by that of `recurrent_scan` or `gated_scan` on "
        f"{threads} threads; right of the line at 1 ours is the faster one."
    )
    return "\n\n".join([side_by_side(figures, caption), _structured(found)])


def _structured(found: Row) -> str:
    """The product by factors against that by the matrix."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in found.get("structured_or_dense", ()):
        scheme, size = row["case"].split(",")[0], row["case"].split("n=")[1].split()[0]
        lines[scheme].append((float(size), row["matrix_over_factors"]))
    if not lines:
        return ""
    with drawn("Time by the matrix divided by time by the factors", 2.8) as (axes, figure):
        _lines(axes, lines, "n", "by the matrix / by the factors")
        axes.axhline(1, color=QUIET, lw=1)
    return side_by_side(
        figure, "A recurrence of a structured W: its time by the matrix divided by that by factors."
    )


def map_speed(found: Row) -> str:
    """How much longer PyTorch and geotorch take to build W and its gradient, by the map."""
    kinds: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in found["maps"]:
        if row["variant"] != "ours":
            kinds[row["map"].split(",")[0]][row["variant"]].append(row)
    figures = []
    for kind, variants in kinds.items():
        with drawn(f"Time to build W divided by ours, {kind}", 2.6) as (axes, figure):
            for i, (variant, rows) in enumerate(variants.items()):
                points = [(row["n"], row["ratio"]) for row in rows if row["ratio"] is not None]
                axes.plot(
                    *zip(*points, strict=True), ls="none", color=COLORS[i], marker=MARKERS[i],
                    markersize=5, label=variant,
                )  # fmt: skip
            _log_n(axes, sorted({row["n"] for rows in variants.values() for row in rows}))
            axes.axhline(1, color=QUIET, lw=1)
            logarithmic(axes, "y")
            title(axes, kind)
            axes.set_ylabel("times ours")
            _legend(axes)
        figures += figure
    return side_by_side(
        figures,
        "Time to build W and to differentiate that, divided by ours: a point for each argument. "
        "Above the line at 1 ours is the faster one.",
    )


def expm_cost(found: Row) -> str:
    """The exponential as a share of a training step, by n."""
    names = {
        "exp_%_of_rnn": "exp, of nn.RNN", "exp_%_of_gru": "exp, of nn.GRU",
        "update_%_of_rnn": "update, of nn.RNN", "update_%_of_gru": "update, of nn.GRU",
    }  # fmt: skip
    lines = {
        name: [(float(row["n"]), row[key]) for row in found["cost"]] for key, name in names.items()
    }
    with drawn("Time of the exponential in per cent of a training step", 3.0) as (axes, figure):
        axes.axhspan(1, 10, color=QUIET, alpha=0.18, lw=0, label="the paper's 1 to 10 %")
        _lines(axes, lines, "n", "% of a training step")
    return side_by_side(figure, "Time of the exponential, in per cent of a training step.")


def memory(found: Row) -> str:
    """The peak memory of forward and backward by the number of steps, for each batch."""
    figures = []
    for batch, rows in _by(found["memory"], "B").items():
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in rows:
            if row["peak_mb"] is not None:
                lines[row["form"]].append((float(row["T"]), row["peak_mb"]))
        with drawn(f"Peak memory by the number of steps, {batch} sequences", 3.6) as (axes, figure):
            _lines(axes, lines, "steps T", "MB")
            title(axes, f"{batch} sequences, n = {rows[0]['n']}")
        figures += figure
    return side_by_side(figures, "Peak memory; a form without a point needs more than there is.")


def scheme_speed(found: Row) -> str:
    """What W costs a training step for each scheme, and how fast factors are for large n."""
    figures = []
    for (field, n), rows in _by(found["schemes"], "field", "n").items():
        built = [row for row in rows if row.get("build_ms") is not None and n < LARGE]
        if built:
            points = [(row["scheme"], row["build_ms"] + row["step_ms"]) for row in built]
            heading = f"{field}, n = {n}"
            label = f"Cost of W in a step, {heading}"
            figures += _dots(points, heading, "build and step, ms", label)
    for (field, n), rows in _by(found["schemes"], "field", "n").items():
        points = [(row["scheme"], row["dense_ratio"]) for row in rows if row.get("dense_ratio")]
        if n >= LARGE and points:
            title = f"{field}, n = {n}"
            figures += _dots(
                points, title, "W h, times faster than dense", f"Speed of W h, {title}"
            )
    return side_by_side(
        figures,
        "What a training step pays for W (`build_ms` + `step_ms`), and for large n how many times "
        "faster the factors are than a dense product (`dense_ratio`).",
    )


LARGE = 2048
"""Sizes from here on are those at which W is not formed."""


def gradient_condition(found: Row) -> str:
    """The conditions of each scheme at several starts."""
    figures = []
    for field, rows in _by(found["conditions"], "field").items():
        rows = sorted(rows, key=lambda row: row["median"])
        label = f"Condition of dW/dθ, {field}"
        with drawn(label, height_of(len(rows))) as (axes, figure):
            ranges(
                axes,
                [row["scheme"] for row in rows],
                [(row["median"], row["least"], row["most"]) for row in rows],
            )
            logarithmic(axes, "x")
            title(axes, field)
            axes.set_xlabel("condition (1 is even)")
        figures += figure
    return side_by_side(figures, "The median of the starts, and the least and the largest.")


FIGURES: dict[str, Callable[[Row], str]] = {
    "training_step": training_step,
    "scan_speed": scan_speed,
    "map_speed": map_speed,
    "expm_cost": expm_cost,
    "memory": memory,
    "scheme_speed": scheme_speed,
    "gradient_condition": gradient_condition,
}

# ----------------------------------------------------------------------------------------- parts


def _by(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    """The rows by the value of a column, or by those of several."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        values = tuple(row[key] for key in keys)
        found.setdefault(values if len(keys) > 1 else values[0], []).append(row)
    return found


def _dots(points: list[tuple[str, float]], heading: str, unit: str, label: str) -> list[str]:
    """A point for each name on a logarithmic axis, the least at the top."""
    points = sorted(points, key=lambda point: point[1])
    with drawn(label, height_of(len(points))) as (axes, figure):
        ranges(axes, [name for name, _ in points], [(x, x, x) for _, x in points])
        logarithmic(axes, "x")
        title(axes, heading)
        axes.set_xlabel(unit)
    return figure


def _lines(axes: Any, lines: dict[str, list[tuple[float, float]]], x: str, y: str) -> None:
    """Lines with a marker each, on logarithmic axes."""
    for color, marker, (name, points) in zip(COLORS, MARKERS, lines.items(), strict=False):
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, label=name)
    _log_n(axes, sorted({point[0] for points in lines.values() for point in points}))
    logarithmic(axes, "y")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _legend(axes)


def _log_n(axes: Any, sizes: list[float]) -> None:
    """A logarithmic axis with a label at each size."""
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.set_xticks([], minor=True)


def _legend(axes: Any) -> None:
    """The names of the lines below the axes, where none can be hidden."""
    axes.figure.legend(loc="outside lower left", ncols=2)


def _numbers(axes: Any, values: list[float]) -> None:
    """Each bar's value at its end, where a reader needs no axis."""
    axes.margins(x=0.14)
    for y, value in enumerate(reversed(values)):
        text = f" {value:,.0f}" if value >= 100 else f" {value:.3g}"
        axes.text(value, y, text, va="center", fontsize=8.5)
