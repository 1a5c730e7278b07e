"""Put what the scripts of the gallery recorded into their pages: a mkdocs hook.

Pages name what they show by comments: ``gallery: NAME`` is the table of docs/gallery/NAME.json,
``curves: NAME`` its figure.
"""

import json
import re
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing import COLORS, drawn, logarithmic, side_by_side
from recorded import NOTHING, interval, made_by_benchmark

from comparisons.results.intervals import estimate
from comparisons.results.text import format_cell, markdown_table

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
MARKER = re.compile(r"<!-- (gallery|curves): (\w+) -->")

AXES = {
    "lstm": ("optimizer steps", "training loss, nats", False),
    "lipschitz": ("radius of the disturbance", "share of the test digits", False),
    "circuit": ("optimizer steps", "test divergence, nats", True),
}
"""Labels of the axes of each figure, and whether the vertical one is logarithmic."""
SHARES = {
    "test accuracy",
    "accuracy",
    "certified at 0.5",
    "attacked at 0.5",
    "before",
    "after",
    "fidelity of the outcomes",
}
"""Values from 0 to 1, whose intervals end there."""
LOSSES = {"test loss, nats", "test divergence, nats"}
"""Positive values that differ by factors: their means are geometric."""
DASHES = ("-", (0, (2, 1.2)))
"""Of the curves that a method has."""


def by_method(found: Row) -> dict[str, list[Row]]:
    """The trainings of each method, in the order of the file."""
    methods = dict.fromkeys(training["method"] for training in found["trainings"])
    return {m: [t for t in found["trainings"] if t["method"] == m] for m in methods}


def outcomes(name: str, found: Row) -> str:
    """The means over the seeds as a table, and a sentence on how they were made."""
    lines = []
    for method, trainings in by_method(found).items():
        first = trainings[0]
        means = (mean(key, trainings) for key in first["values"])
        facts = map(format_cell, first["facts"].values())
        lines.append([method, *means, *facts, format_cell(first["rate"])])
    columns = ["method", *first["values"], *first["facts"], "learning rate"]
    setting = found["setting"][0]
    kind = (
        "Student's t; the means of losses are geometric" if LOSSES & {*columns} else "Student's t"
    )
    made = (
        f"Means over {setting['seeds']} seeds with 95 % intervals ({kind}); "
        f"{setting['steps']} steps a training. The learning rates were chosen by the validation "
        f"loss on another seed, partly in trainings of another length; "
        f"`python docs/gallery/{name}.py --tune` compares them."
    )
    return f"{markdown_table(columns, lines, columns[1:])}\n\n{made} {made_by_benchmark(found)}"


def mean(key: str, trainings: list[Row]) -> str:
    """The mean of a value over the seeds, with its interval."""
    found = estimate([training["values"][key] for training in trainings], key in LOSSES)
    return interval(found.within(0, 1) if key in SHARES else found)


def curves(name: str, found: Row) -> str:
    """A thin line for each seed and a thick one for their mean, in a colour for each method."""
    x_label, y_label, is_logarithmic = AXES[name]
    methods = by_method(found)
    kinds = list(found["trainings"][0]["curves"])
    with drawn(f"{y_label} against {x_label}: {', '.join(methods)}", 3.3) as (axes, figure):
        for (i, (method, trainings)), (j, kind) in product(
            enumerate(methods.items()), enumerate(kinds)
        ):
            seeds = [list(zip(*training["curves"][kind], strict=True)) for training in trainings]
            look: Row = {"color": COLORS[i], "linestyle": DASHES[j]}
            for xs, ys in seeds:
                axes.plot(xs, ys, lw=0.7, alpha=0.35, **look)
            middle = [sum(ys) / len(ys) for ys in zip(*(ys for _, ys in seeds), strict=True)]
            label = f"{method}, {kind}" if len(kinds) > 1 else method
            axes.plot(seeds[0][0], middle, label=label, **look)
        axes.set(xlabel=x_label, ylabel=y_label)
        if is_logarithmic:
            logarithmic(axes, "y")
        axes.figure.legend(loc="outside upper left", handlelength=2.6)
    caption = "Thin lines are single seeds, thick lines their means."
    return side_by_side(figure, caption)


SHOWN: dict[str, Callable[[str, Row], str]] = {"gallery": outcomes, "curves": curves}


def on_page_markdown(markdown: str, /, *, docs: Path = HERE, **_: Any) -> str:
    """Replace the comments of a page; mkdocs calls it with every page."""

    def shown(match: re.Match[str]) -> str:
        kind, name = match.groups()
        path = docs / "gallery" / f"{name}.json"
        if not path.exists():
            command = f"python docs/gallery/{name}.py --out docs/gallery/{name}.json"
            return f"{NOTHING} *This makes one:* `{command}`"
        return SHOWN[kind](name, json.loads(path.read_text(encoding="utf-8")))

    return MARKER.sub(shown, markdown)
