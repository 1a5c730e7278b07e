"""The figures of exported comparisons: learning curves, sizes, and who solves what."""

from collections import defaultdict

import matplotlib as mpl
from drawing import (
    COLORS,
    MARKERS,
    QUIET,
    drawn,
    height_of,
    logarithmic,
    ranges,
    side_by_side,
    title,
)
from recorded import Row, best_models, in_order, ranked, where, without_memory

from comparisons.models import is_baseline
from comparisons.results.intervals import estimate
from comparisons.results.summary import solvable
from comparisons.tasks import TASKS

MOST_LINES = 8
"""The most lines of a figure that an eye can tell apart."""


def curves(sections: list[list[Row]]) -> str:
    """The learning curves of each task, or the metric by size where there are several sizes."""
    models = {run["model"] for runs in sections for run in runs}
    ordered = sorted(models, key=lambda model: (is_baseline(model), model))
    figures, captions = [], set[str]()
    for runs in sections:
        sizes = {run["n"] for run in runs if run["model"] == runs[0]["model"]}
        draw, caption = (
            (_by_size, f"{runs[0]['metric_name']} on the test set by size, median over the seeds.")
            if len(sizes) > 2
            else (
                _learning_curves,
                "Test loss as trained here, mean over the seeds where there are several; the "
                "broken line is the loss without memory.",
            )
        )
        figures += draw(runs, ordered)
        captions.add(caption)
    return side_by_side(figures, " ".join(sorted(captions)))


def _learning_curves(runs: list[Row], models: list[str]) -> list[str]:
    heading = where(runs[0])
    shown = runs if len(runs) <= MOST_LINES else in_order(runs)[:MOST_LINES]
    with drawn(f"Learning curves, {heading}", 2.9) as (axes, figure):
        for run in shown:
            color = COLORS[models.index(run["model"]) % len(COLORS)]
            label = f"{run['model']}, n = {run['n']}"
            axes.plot(*zip(*run["curve"], strict=True), color=color, label=label)
        axes.axhline(without_memory(runs[0]), color=QUIET, lw=1.2, ls=(0, (5, 3)))
        losses = [loss for run in shown for _, loss in run["curve"]]
        if min(losses) > 0 and max(losses) > 5 * min(losses):
            logarithmic(axes, "y")
        title(axes, heading)
        axes.set_xlabel("iterations")
        axes.set_ylabel("test loss")
        axes.figure.legend(loc="outside lower left", ncols=2)
    return figure


def _by_size(runs: list[Row], models: list[str]) -> list[str]:
    heading = where(runs[0])
    lines: dict[str, list[Row]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["n"]):
        lines[run["model"]].append(run)
    with drawn(f"{runs[0]['metric_name']} by size, {heading}", 3.4) as (axes, figure):
        for model, own in lines.items():
            i = models.index(model) % len(COLORS)
            sizes = [run["n"] for run in own]
            medians = [run["metric_median"] for run in own]
            axes.plot(sizes, medians, color=COLORS[i], marker=MARKERS[i], markersize=4, label=model)
        title(axes, heading)
        axes.set_xlabel("hidden units n")
        axes.set_ylabel(f"test {runs[0]['metric_name']}, median")
        axes.figure.legend(loc="outside lower left", ncols=2)
    return figure


# ---------------------------------------------------------------------------------- one preset


def scores(sections: list[list[Row]]) -> str:
    """How far each model comes on each task: a field of a map, darker where it is nearer."""
    models = _by_mean_score(sections)
    names = [where(runs[0]) for runs in sections]
    width, height = 1.9 + 0.5 * len(names), 1.6 + 0.185 * len(models)
    shades = mpl.colormaps["Blues"]
    with drawn("How far each model comes on each task", height, width) as (axes, figure):
        for x, runs in enumerate(sections):
            best = best_models(runs)
            for y, model in enumerate(models):
                found = score(runs, model)
                if found is None:
                    continue
                shade = min(max(found, 0.0), 1.0)
                color = mpl.colors.to_hex(shades(0.05 + 0.9 * shade))
                axes.add_patch(mpl.patches.Rectangle((x, y), 1, 1, facecolor=color, lw=0))
                ink = "#ffffff" if shade > 0.6 else "#111111"
                if model in best:
                    axes.add_patch(
                        mpl.patches.Rectangle(
                            (x + 0.06, y + 0.08),
                            0.88,
                            0.84,
                            fill=False,
                            edgecolor="#e69f01",
                            lw=1.6,
                        )
                    )
                axes.text(
                    x + 0.5, y + 0.55, str(round(100 * found)),
                    ha="center", va="center", color=ink, fontsize=8,
                )  # fmt: skip
        axes.set_xlim(0, len(names))
        axes.set_ylim(len(models), 0)
        axes.grid(visible=False)
        axes.set_yticks([y + 0.5 for y in range(len(models))], models)
        axes.set_xticks([x + 0.5 for x in range(len(names))], names, rotation=40, ha="left")
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    (svg,) = figure
    return f'<div class="figure-wide" tabindex="0">\n{svg}\n</div>\n\n' + (
        '<p class="figure-caption" markdown="1">Per cent of the way from the loss without memory '
        "(0) to the best that is known (100): the optimum, 0 where it is unknown, or on a text the "
        "least loss of all models. Below 0 a model is worse than one without memory. Means over "
        "the seeds, whose intervals are in the table. Framed are the model of the least loss on a "
        "task and every one that its seeds cannot tell from it.</p>"
    )


def score(runs: list[Row], model: str) -> float | None:
    """The share of the way from the loss without memory to the best one; None if not trained."""
    own = next((run for run in runs if run["model"] == model), None)
    if own is None:
        return None
    task = TASKS.get(own["task"])(own["T"], own["variant"])
    best = (own["optimum"] or 0.0) if solvable(task) else min(run["loss"] for run in runs)
    nothing = without_memory(own)
    return (nothing - own["loss"]) / (nothing - best)


def _by_mean_score(sections: list[list[Row]]) -> list[str]:
    """The models; where all have several seeds, those with the largest mean score first."""
    models = sorted({run["model"] for runs in sections for run in runs})
    if not all(map(ranked, sections)):
        return sorted(models, key=lambda model: (is_baseline(model), model))

    def mean(model: str) -> float:
        known = [max(found, 0.0) for runs in sections if (found := score(runs, model)) is not None]
        return sum(known) / len(known)

    return sorted(models, key=mean, reverse=True)


def losses(runs: list[Row], tasks: tuple[str, ...]) -> str:
    """The loss of each model on some tasks with its interval."""
    figures = []
    for task in tasks:
        own = in_order([run for run in runs if run["task"] == task])
        if not own:
            continue
        if ranked(own):
            own.sort(key=lambda run: _loss(run)[0])  # by what is drawn
        rows = [_loss(run) for run in own]
        label = f"Test loss, {where(own[0])}"
        with drawn(label, height_of(len(own))) as (axes, figure):
            ranges(axes, [run["model"] for run in own], rows, best_models(own))
            axes.axvline(without_memory(own[0]), color=QUIET, lw=1.2, ls=(0, (5, 3)))
            logarithmic(axes, "x")
            title(axes, where(own[0]))
            axes.set_xlabel("test loss")
        figures += figure
    return side_by_side(
        figures,
        "Test loss, geometric mean over the seeds and its interval where there are several; the "
        "broken line is the loss without memory. Squares are the model of the least loss and every "
        "one that its seeds cannot tell from it; single seeds have none.",
    )


def _loss(run: Row) -> tuple[float, float, float]:
    found = estimate(run.get("seed_losses") or [run["loss"]], positive=True)
    return (
        found.mean,
        found.mean if found.low is None else found.low,
        found.mean if found.high is None else found.high,
    )
