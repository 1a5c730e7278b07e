"""The report, made from the files of a store alone: one HTML page and one Markdown page.

Run ``python -m comparisons.report FOLDER`` to make it again without training anything.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from comparisons import plots
from comparisons.models import is_baseline
from comparisons.papers import PAPERS, TAGS, Outcome
from comparisons.records import Point, Result, Setting
from comparisons.sizes import size_curves
from comparisons.store import Contents, Store
from comparisons.tasks import TASKS, Task

SOLVED = 0.1  # a model has solved a task below this share of the baseline loss
NONE = "–"
NOT_UNITARY = "†"

COLUMNS = (
    "model",
    "n",
    "parameters (of W)",
    "iterations × batch",
    "test loss",
    "accuracy %",
    "solved at",
    "ms / step",
    "peak MB",
    "defect start",
    "defect end",
    "training",
    "settings",
)


@dataclass(frozen=True)
class Row:
    """One model in one configuration, over its seeds."""

    results: tuple[Result, ...]

    @property
    def model(self) -> str:
        """The scheme or baseline."""
        return self.results[0].run.model

    @property
    def setting(self) -> Setting:
        """What all its seeds share."""
        return self.results[0].run.setting

    @property
    def loss(self) -> float:
        """Mean final test loss."""
        return statistics.fmean(result.final.test_loss for result in self.results)

    @property
    def label(self) -> str:
        """For figures and remarks."""
        return f"{self.model}, n = {self.setting.hidden_size}"

    @property
    def deviation(self) -> str:
        """Why the weight is not unitary, if the scheme says so."""
        return self.results[0].deviation

    @property
    def full_label(self) -> str:
        """Model, size and everything else that tells two runs apart."""
        s, device = self.setting, self.results[0].run.device
        return f"{self.label}, {s.iterations:,} × {s.batch_size}, {s.summary}, {device}"

    def mean(self, value: Callable[[Result], float | None], digits: int = 3) -> str:
        """Mean and, of several seeds, standard deviation; a dash if a seed has no value."""
        values = [value(result) for result in self.results]
        known = [v for v in values if v is not None]
        if len(known) < len(values):
            return NONE
        mean = _number(statistics.fmean(known), digits)
        return f"{mean} ± {_number(statistics.stdev(known), 2)}" if len(known) > 1 else mean

    def solved_at(self) -> str:
        """The first evaluated iteration below a tenth of the baseline."""
        firsts = [_first_solved(result) for result in self.results]
        known = [first for first in firsts if first is not None]
        if not known:
            return NONE
        text = f"{statistics.fmean(known):,.0f}"
        return text if len(known) == len(firsts) else f"{text} ({len(known)}/{len(firsts)} seeds)"

    def cells(self, note: str) -> list[str]:
        """The texts of :data:`COLUMNS`; ``note`` refers to the source of the settings."""
        first, setting = self.results[0], self.setting
        model = self.model + (f" {NOT_UNITARY}" if self.deviation else "")
        return [
            model if first.run.device == "cpu" else f"{model} ({first.run.device})",
            str(setting.hidden_size),
            f"{first.parameters:,} ({first.recurrent_parameters:,})",
            f"{setting.iterations:,} × {setting.batch_size}",
            self.mean(lambda result: result.final.test_loss),
            self.mean(lambda result: 100 * result.final.test_accuracy),
            self.solved_at(),
            self.mean(lambda result: result.ms_per_step),
            self.mean(lambda result: result.peak_memory_mb),
            self.mean(lambda result: result.defect_start, 2),
            self.mean(lambda result: result.defect_end, 2),
            setting.summary,
            note,
        ]


@dataclass(frozen=True)
class Line:
    """A line of a table: a row's cells, or those of the analytic baseline."""

    cells: list[str]
    kind: str  # "scheme", "baseline" (a model) or "bound" (the analytic baseline)


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from."""

    commands: tuple[str, ...]
    machines: tuple[str, ...]
    days: str


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for both pages."""

    name: str
    title: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """One task at one length."""

    task: Task
    rows: tuple[Row, ...]
    drawings: tuple[Drawing, ...]

    @property
    def name(self) -> str:
        """Of its files and anchors."""
        return f"{self.task.name}-T{self.task.length}"

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.task.title}, T = {self.task.length}"

    @property
    def summary(self) -> tuple[tuple[str, ...], list[Line]]:
        """The columns that matter most, and their part of the table."""
        kept = ("model", "n", "test loss", "accuracy %", "solved at", "ms / step", "defect end")
        places = [COLUMNS.index(column) for column in kept]
        return kept, [Line([line.cells[i] for i in places], line.kind) for line in self.lines]

    @property
    def baseline(self) -> float:
        """Mean over the runs: where a seed draws a system, each has its own."""
        return statistics.fmean(result.baseline for row in self.rows for result in row.results)

    @property
    def deviations(self) -> list[str]:
        """Which models are not unitary by construction, and why."""
        found = {row.model: row.deviation for row in self.rows if row.deviation}
        return [f"{NOT_UNITARY} {model}: {why}" for model, why in sorted(found.items())]

    @property
    def notes(self) -> list[str]:
        """The sources of the settings, each once; a row refers to one by its number."""
        return list(dict.fromkeys(row.setting.source for row in self.rows))

    @property
    def lines(self) -> list[Line]:
        """The table, best model first, the analytic baseline where it falls."""
        bound = ["memoryless baseline", *[""] * (len(COLUMNS) - 1)]
        bound[COLUMNS.index("test loss")] = _number(self.baseline, 4)
        entries = [(self.baseline, Line(bound, "bound"))]
        for row in self.rows:
            note = self.notes.index(row.setting.source) + 1
            kind = "baseline" if is_baseline(row.model) else "scheme"
            entries.append((row.loss, Line(row.cells(f"[{note}]"), kind)))
        return [line for _, line in sorted(entries, key=lambda entry: entry[0])]

    @property
    def provenance(self) -> Provenance:
        """Behind the table and the figures."""
        return _provenance([self])


@dataclass(frozen=True)
class Comparison:
    """A published outcome beside ours."""

    cite: str
    outcome: Outcome
    ours: list[str]

    @property
    def lengths(self) -> str:
        """The lengths it holds for."""
        return ", ".join(map(str, self.outcome.lengths))

    @property
    def standing(self) -> str:
        """The tag, and what it means."""
        return f"[{self.outcome.tag}] {TAGS[self.outcome.tag]}"


@dataclass(frozen=True)
class Chapter:
    """One task: its sections by length, and what was published on it."""

    task: type[Task]
    sections: tuple[Section, ...]
    published: tuple[Comparison, ...]
    remarks: tuple[str, ...]

    @property
    def provenance(self) -> Provenance:
        """Behind our side of the published table."""
        return _provenance(self.sections)


@dataclass(frozen=True)
class Report:
    """What was written, and the tables for a terminal."""

    pages: tuple[Path, ...]
    sections: tuple[Section, ...]


def write_report(folder: Path) -> Report:
    """Make ``report.html``, ``report.md`` and ``figures/*.png`` from what the folder holds.

    A partial store makes a partial report, which says what is missing.
    """
    contents = Store(folder).load()
    chapters = _chapters(contents.results)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.globals.update(svg=plots.to_svg, columns=COLUMNS, solved=SOLVED)
    sections = tuple(section for chapter in chapters for section in chapter.sections)
    for drawing in (drawing for section in sections for drawing in section.drawings):
        plots.save_png(drawing.figure, folder / "figures" / f"{drawing.name}.png")
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for page in ("report.html", "report.md"):
        text = environment.get_template(f"{page}.j2").render(
            chapters=chapters, contents=contents, missing=_missing(contents)
        )
        (folder / page).write_text(text, encoding="utf-8")
        pages.append(folder / page)
    return Report(tuple(pages), sections)


def _chapters(results: Iterable[Result]) -> list[Chapter]:
    rows = _rows(results)
    models = sorted({row.model for group in rows.values() for row in group})
    styles = plots.styles(
        [model for model in models if not is_baseline(model)],
        [model for model in models if is_baseline(model)],
    )
    chapters = []
    for task in sorted({task for task, _, _ in rows}):
        sections = tuple(
            _section(TASKS.get(task)(length, variant), group, styles)
            for (name, variant, length), group in sorted(rows.items())
            if name == task
        )
        remarks = tuple(
            f"{paper.cite}: {remark}"
            for paper in PAPERS.values()
            if any(outcome.task == task for outcome in paper.outcomes)
            for remark in paper.remarks
        )
        chapters.append(Chapter(TASKS.get(task), sections, _published(task, sections), remarks))
    return chapters


def _rows(results: Iterable[Result]) -> dict[tuple[str, str, int], list[Row]]:
    """Rows by task, variant and length, seeds of one configuration together, best first."""
    seeds: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        seeds[replace(result.run, seed=0).id].append(result)
    rows: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for group in seeds.values():
        row = Row(tuple(sorted(group, key=lambda result: result.run.seed)))
        run = group[0].run
        rows[run.task, run.variant, run.length].append(row)
    return {key: sorted(group, key=lambda row: row.loss) for key, group in rows.items()}


def _section(task: Task, rows: Sequence[Row], styles: dict[str, plots.Style]) -> Section:
    curves = size_curves(task, [result for row in rows for result in row.results], styles)
    if curves:
        # A line for each model and size in every other figure would be more than an eye can follow.
        return Section(task, tuple(rows), (_over_sizes(task, curves),))
    labels = [row.label for row in rows]
    series = [
        plots.Series(
            # Two rows of one model and size differ elsewhere; all of it tells them apart.
            row.label if labels.count(row.label) == 1 else row.full_label,
            styles[row.model],
            row.results,
        )
        for row in rows
    ]
    arguments = (series, Section(task, tuple(rows), ()).baseline, task.loss_name)
    name = f"{task.name}-T{task.length}"
    drawings = [
        Drawing(f"{name}-curves", "Learning curves", plots.learning_curves(*arguments)),
        Drawing(f"{name}-time", "Loss against time", plots.loss_against_time(*arguments)),
        Drawing(
            f"{name}-parameters", "Loss against parameters",
            plots.loss_against_parameters(*arguments),
        ),
    ]  # fmt: skip
    if any(not is_baseline(row.model) for row in rows):
        drawings.append(Drawing(f"{name}-defect", "Unitarity defect", plots.defects(series)))
    return Section(task, tuple(rows), tuple(drawings))


def _over_sizes(task: Task, curves: Sequence[plots.SizeCurve]) -> Drawing:
    # Where the metric needs more than the loss, that of the optimum is not known.
    best = math.nan if task.optimum is None else task.metric(task.optimum, math.nan)
    figure = plots.metric_against_size(
        curves, task.metric_name, None if math.isnan(best) else best, task.twin_units
    )
    name = "-".join(filter(None, (task.name, task.variant, f"T{task.length}", "sizes")))
    return Drawing(name, f"{task.metric_name} by size", figure)


def _published(task: str, sections: Sequence[Section]) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(paper.cite, outcome, _ours(outcome, sections))
        for paper in PAPERS.values()
        for outcome in paper.outcomes
        if outcome.task == task
    )


def _ours(outcome: Outcome, sections: Sequence[Section]) -> list[str]:
    """Our losses for the same model: at its lengths, or else at the lengths we ran."""
    same = [s for s in sections if s.task.length in outcome.lengths]
    found = [
        f"{'' if same else 'other length, '}T = {section.task.length}: "
        f"{row.mean(lambda result: result.final.test_loss)} "
        f"({row.label}, {row.setting.iterations:,} iterations)"
        for section in same or sections
        for row in section.rows
        if row.model in outcome.ours
    ]
    return found or ["not run"]


def _provenance(sections: Iterable[Section]) -> Provenance:
    rows = [row for section in sections for row in section.rows]
    results = [result for row in rows for result in row.results]
    days = sorted(result.date[:10] for result in results)
    places = (
        f"{result.machine['gpu'] or result.machine['cpu']}, {result.machine['cores']} cores, "
        f"{result.threads} thread{'s' * (result.threads > 1)} a run, "
        f"{result.machine['platform']}, torch {result.versions['torch']}, "
        f"unitary_zoo {result.versions['unitary_zoo']}"
        for result in results
    )
    return Provenance(
        commands=tuple(dict.fromkeys(result.command for result in results)),
        machines=tuple(dict.fromkeys(places)),
        days=days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}",
    )


def _missing(contents: Contents) -> int:
    """Runs of the last command that neither finished nor failed."""
    if contents.plan is None:
        return 0
    finished = {result.run.id for result in contents.results}
    failed = {failure.run.id for failure in contents.failures}
    return len(set(contents.plan.ids) - finished - failed)


def _first_solved(result: Result) -> int | None:
    def solved(point: Point) -> bool:
        return point.test_loss <= SOLVED * result.baseline

    return next((point.iteration for point in result.curve if solved(point)), None)


def _number(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def main() -> None:
    """Command line: make the report of a folder again."""
    parser = argparse.ArgumentParser(description="Make the report of a results folder again.")
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    for page in write_report(parser.parse_args().folder).pages:
        print(page)


if __name__ == "__main__":
    main()
