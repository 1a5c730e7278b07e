"""The report, made from the files of a store alone: one HTML page and one Markdown page.

Run ``python -m comparisons.report.html FOLDER`` to make it again without training anything.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from comparisons.models import is_baseline
from comparisons.papers import PAPERS, Paper
from comparisons.records import Result
from comparisons.report import figures as plots
from comparisons.report.size_curves import size_curves
from comparisons.results.published import Comparison, comparisons_on, remarks_on
from comparisons.results.store import Contents, Store
from comparisons.results.summary import NOT_UNITARY, SOLVED, Row, labels, number, rows
from comparisons.tasks import TASKS, Task

WORDS = ("model", "training", "settings")
"""Columns that hold no numbers."""
MATTER = ("model", "n", "test loss", "validation", "solved at", "ms / step", "defect end")
"""Columns for a terminal, beside the task's metric."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a row's cells, or those of the analytic baseline or the optimum."""

    cells: list[str]
    kind: str  # "scheme", "baseline" (a model) or "bound" (the analytic ones)


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
    """One task in one variant at one length."""

    task: Task
    rows: tuple[Row, ...]
    drawings: tuple[Drawing, ...]

    @property
    def name(self) -> str:
        """Of its files and anchors."""
        return _name(self.task)

    @property
    def title(self) -> str:
        """Its heading."""
        return ", ".join(part for part in (self.task.title, self.form) if part)

    @property
    def form(self) -> str:
        """Variant and length."""
        variant = self.task.variants.get(self.task.variant, self.task.variant)
        return ", ".join(part for part in (variant, f"T = {self.task.length}") if part)

    @property
    def baseline(self) -> float:
        """The analytic baseline, a mean over runs where the seed draws the task."""
        return statistics.fmean(r.baseline for row in self.rows for r in row.results)

    @property
    def data(self) -> tuple[str, ...]:
        """What the runs were trained and tested on."""
        return tuple(dict.fromkeys(r.data for row in self.rows for r in row.results))

    @property
    def validated(self) -> bool:
        """Whether validation chose the evaluation that is reported."""
        return any(row.validated for row in self.rows)

    @property
    def choice(self) -> str:
        """Which evaluation the test values are of, where it is not the last."""
        kinds = []
        if self.validated:
            kinds.append("Test values are those at the least validation loss.")
        if best := sorted({row.name for row in self.rows if row.setting.best_test}):
            kinds.append(
                f"As in the paper, test values are the least of all evaluations: {', '.join(best)}."
            )
        return " ".join(kinds)

    @property
    def columns(self) -> list[str]:
        """Of its table; those that would be empty are left out."""
        # What a text's entropy is, and so when it is solved, nobody knows.
        solvable = not (self.task.tokens and self.task.per_step)
        left_out = set() if solvable else {"solved at"}
        left_out |= set() if self.validated else {"validation"}
        left_out |= set() if any(row.chosen for row in self.rows) else {"best at"}
        return [column for column in self.rows[0].cells("") if column not in left_out]

    @property
    def summary(self) -> tuple[list[str], list[Line]]:
        """The columns that matter most, and their part of the table."""
        kept = [c for c in self.columns if c in (*MATTER, self.task.metric_name)]
        places = [self.columns.index(column) for column in kept]
        return kept, [Line([line.cells[i] for i in places], line.kind) for line in self.lines]

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
        """The table, best model first, the analytic lines where they fall."""
        entries = [(self.baseline, self._bound("memoryless baseline", self.baseline))]
        if self.task.optimum is not None:
            entries.append((self.task.optimum, self._bound("optimum", self.task.optimum)))
        for row in self.rows:
            cells = row.cells(f"[{self.notes.index(row.setting.source) + 1}]")
            kind = "baseline" if is_baseline(row.model) else "scheme"
            entries.append((row.loss, Line([cells[column] for column in self.columns], kind)))
        return [line for _, line in sorted(entries, key=lambda entry: entry[0])]

    def _bound(self, name: str, loss: float) -> Line:
        known = {"model": name, "test loss": number(loss, 4)}
        return Line([known.get(column, "") for column in self.columns], "bound")

    @property
    def provenance(self) -> Provenance:
        """Behind the table and the figures."""
        return _provenance([self])


@dataclass(frozen=True)
class Chapter:
    """One task: its sections by variant and length, and what was published on it."""

    task: type[Task]
    sections: tuple[Section, ...]
    published: tuple[Comparison, ...]
    left_out: int  # published results beside which there is nothing of ours

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know when ours is set beside the published."""
        return remarks_on(self.task.name, self.published)

    @property
    def sources(self) -> tuple[str, ...]:
        """How our side of the published table was trained, and what departs from the papers."""
        found = (ours.source for item in self.published for ours in item.ours)
        return tuple(dict.fromkeys(found))

    @property
    def provenance(self) -> Provenance | None:
        """Behind our side of the published table."""
        return _provenance(self.sections) if self.sections else None


@dataclass(frozen=True)
class Cell:
    """A place of the matrix of all models and sections."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Matrix:
    """The metric of every model in every section, of its best configuration there."""

    sections: tuple[Section, ...]

    @property
    def lines(self) -> list[tuple[str, list[Cell]]]:
        """A model and its cells; schemes before baselines."""
        names = {row.name: row.model for section in self.sections for row in section.rows}
        ordered = sorted(names, key=lambda name: (is_baseline(names[name]), name))
        return [(name, [_cell(section, name) for section in self.sections]) for name in ordered]


def _cell(section: Section, name: str) -> Cell:
    """Rows come best first."""
    own = [row for row in section.rows if row.name == name]
    if not own:
        return Cell("")
    return Cell(own[0].mean(own[0].metric), best=own[0] is section.rows[0])


@dataclass(frozen=True)
class Report:
    """What was written, and the tables for a terminal."""

    pages: tuple[Path, ...]
    sections: tuple[Section, ...]


def write_report(folder: Path) -> Report:
    """Make ``report.html``, ``report.md`` and ``figures/*.png`` from what the folder holds.

    A partial store makes a partial report, which says what is missing. That of a paper is headed
    by it and lists all that it published.
    """
    contents = Store(folder).load()
    paper = PAPERS.get(contents.plan.paper) if contents.plan else None
    chapters = _chapters(contents.results, paper)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.globals.update(svg=plots.to_svg, words=WORDS, solved=SOLVED)
    sections = tuple(section for chapter in chapters for section in chapter.sections)
    for drawing in (drawing for section in sections for drawing in section.drawings):
        plots.save_png(drawing.figure, folder / "figures" / f"{drawing.name}.png")
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for page in ("report.html", "report.md"):
        text = environment.get_template(f"{page}.j2").render(
            chapters=chapters,
            contents=contents,
            matrix=Matrix(sections) if len(sections) > 1 else None,
            missing=_missing(contents),
            paper=paper,
        )
        (folder / page).write_text(text, encoding="utf-8")
        pages.append(folder / page)
    return Report(tuple(pages), sections)


def _chapters(results: Iterable[Result], paper: Paper | None) -> list[Chapter]:
    groups = rows(results, lambda name, length, variant: TASKS.get(name)(length, variant))
    shown = [row for group in groups.values() for row in group]
    # The curves over sizes go by the model alone.
    names = {name: row.model for row in shown for name in (row.name, row.model)}
    styles = plots.styles(
        sorted(name for name in names if not is_baseline(names[name])),
        sorted(name for name in names if is_baseline(names[name])),
    )
    tasks = {name for name, _, _ in groups}
    if paper is not None:
        tasks |= {outcome.task for outcome in paper.outcomes} & set(TASKS.names())
    chapters = []
    for task in sorted(tasks):
        own = [group for (name, _, _), group in sorted(groups.items()) if name == task]
        sections = tuple(_section(group[0].task, group, styles) for group in own)
        compared = comparisons_on(task, [row for group in own for row in group], paper)
        chapters.append(Chapter(TASKS.get(task), sections, *compared))
    return chapters


def _name(task: Task) -> str:
    return "-".join(part for part in (task.name, task.variant, f"T{task.length}") if part)


def _section(task: Task, rows: Sequence[Row], styles: dict[str, plots.Style]) -> Section:
    curves = size_curves(task, [result for row in rows for result in row.results], styles)
    if curves:
        # A line for each model and size in every other figure would be more than an eye can follow.
        return Section(task, tuple(rows), (_over_sizes(task, curves),))
    looks = plots.looks([row.name for row in rows], styles)
    series = [
        plots.Series(label, look, row.results)
        for label, look, row in zip(labels(rows), looks, rows, strict=True)
    ]
    name = _name(task)
    baseline = statistics.fmean(result.baseline for row in rows for result in row.results)
    arguments = (series, baseline, task.loss_name, task.optimum)
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
    return Drawing(f"{_name(task)}-sizes", f"{task.metric_name} by size", figure)


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


def main() -> None:
    """Command line: make the report of a folder again."""
    parser = argparse.ArgumentParser(description="Make the report of a results folder again.")
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    for page in write_report(parser.parse_args().folder).pages:
        print(page)


if __name__ == "__main__":
    main()
