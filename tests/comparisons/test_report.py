import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import ClassVar

import pytest

from comparisons.papers import Outcome, Paper
from comparisons.records import Failure
from comparisons.report import figures as plots
from comparisons.report.figures import DASHES, PALETTE, styles
from comparisons.report.html import Matrix, main, write_report
from comparisons.results import published
from comparisons.results.store import Store
from comparisons.results.summary import Row, labels
from comparisons.tasks import TASKS
from comparisons.tasks.copying import Copying
from comparisons.training.trainer import train

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}


class Checker(HTMLParser):
    """Follows the nesting of a page, its ids, and what it would load."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        if tag in {"script", "link", "img", "iframe", "image"}:
            self.loads.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_result, make_run):
    """Two tasks, two lengths, several seeds, a baseline, a failure and a run still to do."""
    store = Store(tmp_path_factory.mktemp("store"))
    results = [
        make_result("cayley", length=100, seed=0, losses=(2.0, 0.1, 0.010)),
        make_result("cayley", length=100, seed=1, losses=(2.0, 0.1, 0.012)),
        make_result("arjovsky", length=100, losses=(2.0, 0.1, 0.0123)),
        make_result(
            "lstm", length=100, losses=(2.0, 0.3, 0.2), defect=None, unitary_optimizer=None, clip=1
        ),
        make_result("arjovsky", length=200, losses=(2.0, 0.09, 0.08)),
        make_result("arjovsky", task="adding", length=50, losses=(1.0, 0.1, 0.02)),
    ]
    for result in results:
        store.save(result)
    failed = make_run("gru", length=100, unitary_optimizer=None)
    store.save_failure(
        Failure(failed, "ValueError: <no> | way", "Traceback", "2026-01-02T03:04:05+00:00")
    )
    (store.folder / "runs" / "broken.json").write_text("{")
    runs = [result.run for result in results]
    store.save_plan("python run_it --all", [*runs, failed, make_run("expm", length=100)])
    return store


@pytest.fixture(scope="module")
def report(store):
    return write_report(store.folder)


@pytest.fixture(scope="module")
def html(report):
    return report.pages[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(report):
    return report.pages[1].read_text(encoding="utf-8")


def test_the_page_is_whole_and_loads_nothing(html):
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    assert not checker.loads
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    references = set(re.findall(r'(?:url\(#|href="#)([^")]+)', html))
    assert references <= set(checker.ids)
    assert html.count("<svg") == 3 * 4  # four figures in each of the three sections


def test_the_tables_hold_the_baseline_where_it_falls(report):
    section = next(s for s in report.sections if s.name == "copying-T100")
    assert [line.cells[0] for line in section.lines] == [
        "cayley",
        "arjovsky",
        "memoryless baseline",
        "lstm",
    ]
    table = [dict(zip(section.columns, line.cells, strict=True)) for line in section.lines]
    assert table[2]["test loss"] == "0.1733"
    assert table[0]["test loss"] == "0.011 ± 0.0014"  # two seeds
    assert table[0]["solved at"] == "6"
    assert table[3]["solved at"] == "–"
    assert table[3]["defect end"] == "–"
    assert table[1]["defect end"] == "1e-07"
    assert table[1]["parameters (of W)"] == "1,234 (567)"
    assert "clip ±1" in table[3]["training"]
    assert table[0]["settings"] == "[1]"
    assert section.notes == ["a test's"]


def test_both_pages_say_where_the_numbers_come_from(html, markdown):
    for text in (html, markdown):
        # three tables of ours, and a table of published results for each of the two tasks
        assert text.count("python comparisons/run_all.py --preset imaginary") == 5
        assert text.count("Imaginary CPU 9000") == 5
        assert "10 ln 8 / (T + 20)" in text
        assert "This report is partial" in text
        assert "python run_it --all" in text
        assert "1 failed, 1 of the last command not run yet" in text


def test_published_values_stand_beside_ours_with_their_tags(html, markdown):
    for text in (html, markdown):
        assert "Arjovsky et al. 2016" in text
        assert "[F] read off a published figure by eye" in text
        assert "[M-M] from memory, not confirmed; confidence medium" in text
        assert "loss 0.0123 (arjovsky, n = 8, T = 100, 6 iterations)" in text  # the same length
        assert "loss 0.02 (arjovsky, n = 8, T = 50, 6 iterations)" in text  # all that we have
        assert "other length: 50, other size: 8" in text
        assert "more published results on this task" in text
    assert "| *≈ .145" not in markdown
    assert "| *slowly below the baseline: ≈ .145 at 1 million examples* |" in markdown
    assert '<td class="guess">slowly below the baseline: ≈ .145' in html


def test_failures_and_damaged_files_are_named(html, markdown):
    assert "ValueError: &lt;no&gt; | way" in html
    assert "ValueError: <no> \\| way" in markdown
    for text in (html, markdown):
        assert "runs/broken.json cannot be read" in text


def test_the_markdown_tables_and_pictures_are_whole(store, markdown):
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown)
    assert len(pictures) == 12
    for picture in pictures:
        assert (store.folder / picture).read_bytes().startswith(b"\x89PNG")
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(blocks) == 6  # the matrix, three sections, two tables of published results
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "\n\n\n\n" not in markdown


def test_the_report_comes_from_the_files_alone(store, html, markdown, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report", str(store.folder)])
    main()
    assert "report.html" in capsys.readouterr().out
    assert (store.folder / "report.html").read_text(encoding="utf-8") == html
    assert (store.folder / "report.md").read_text(encoding="utf-8") == markdown


def test_an_empty_store_makes_a_report_too(tmp_path):
    for page in write_report(tmp_path / "nothing").pages:
        assert "0 runs finished" in page.read_text(encoding="utf-8")


def test_no_two_schemes_look_alike():
    names = [f"scheme{i}" for i in range(len(PALETTE) * len(DASHES))]
    looks = {(s.color, str(s.dash)) for s in styles(names, ["lstm"]).values()}
    assert len(looks) == len(names) + 1


def test_a_scheme_that_is_not_unitary_by_construction_says_so(tmp_path, make_result, capsys):
    from comparisons.cli.console import print_summary

    store = Store(tmp_path)
    why = "unitary in the limit only: <= 0.5"
    results = [
        make_result("cayley"),
        replace(make_result("landing", defect=0.2), deviation=why),
    ]
    for result in results:
        store.save(result)
    store.save_plan("python run_it", [result.run for result in results])
    report = write_report(tmp_path)
    html, markdown = (page.read_text(encoding="utf-8") for page in report.pages)
    assert "† landing: unitary in the limit only: &lt;= 0.5" in html
    assert f"† landing: {why}" in markdown
    assert "| landing † |" in markdown
    assert "cayley †" not in markdown
    print_summary(report.sections)
    assert f"† landing: {why}" in capsys.readouterr().out


def test_the_training_records_that_a_scheme_is_not_unitary(make_run):
    assert train(make_run("landing")).deviation.startswith("unitary only in the limit")
    assert train(make_run("cayley")).deviation == ""
    assert train(make_run("gru", unitary_optimizer=None)).deviation == ""


class Imaginary(Copying):
    """A task with a metric that is no accuracy, a validation set, variants and an optimum."""

    name = "imaginary"
    title = "Imaginary task"
    metric_name = "perplexity"
    variants: ClassVar = {"small": "few words", "large": "all words"}
    optimum = 0.005

    def metric(self, loss, accuracy):
        return math.exp(loss)


@pytest.fixture
def imaginary(monkeypatch):
    monkeypatch.setitem(TASKS._entries, "imaginary", Imaginary)


def finished(result, *, task="imaginary", variant="small", valid=None, **run):
    """The result as one of another task, with validation losses along its curve."""
    curve = result.curve
    if valid is not None:
        curve = tuple(replace(p, valid_loss=v) for p, v in zip(curve, valid, strict=True))
    run = replace(result.run, task=task, variant=variant, **run)
    return replace(result, run=run, curve=curve, data=f"data of {variant}")


def saved(folder, results, paper=""):
    store = Store(folder)
    for result in results:
        store.save(result)
    store.save_plan("python run_it", [result.run for result in results], paper)
    report = write_report(folder)
    return report, [page.read_text(encoding="utf-8") for page in report.pages]


def test_validation_chooses_what_is_reported(tmp_path, make_result, imaginary):
    best_early = make_result("cayley", losses=(2.0, 0.02, 0.5))
    report, pages = saved(tmp_path, [finished(best_early, valid=(2.0, 0.03, 0.4))])
    (section,) = report.sections
    assert section.name == "imaginary-small-T5"
    assert section.title == "Imaginary task, few words, T = 5"
    (line,) = (line for line in section.lines if line.kind == "scheme")
    cells = dict(zip(section.columns, line.cells, strict=True))
    assert cells["test loss"] == "0.02"
    assert cells["perplexity"] == "1.02"  # exp(0.02)
    assert cells["validation"] == "1.03"
    assert cells["best at"] == "3"
    assert [line.cells[0] for line in section.lines] == [
        "optimum", "cayley", "memoryless baseline",
    ]  # fmt: skip
    assert (tmp_path / "figures" / "imaginary-small-T5-curves.png").exists()
    for text in pages:
        assert "data of small" in text
        assert "Test values are those at the least validation loss" in text
        assert "Optimum: 0.005" in text


def test_the_best_model_is_the_one_that_validation_chose_best(tmp_path, make_result, imaginary):
    results = [
        finished(make_result("cayley", losses=(2.0, 0.02, 0.9)), valid=(2.0, 0.03, 0.8)),
        finished(make_result("expm", losses=(2.0, 0.5, 0.1)), valid=(2.0, 0.5, 0.1)),
    ]
    (section,) = saved(tmp_path, results)[0].sections
    assert [row.model for row in section.rows] == ["cayley", "expm"]


def test_solved_counts_from_the_optimum(tmp_path, make_result, imaginary):
    # The baseline is 10 ln 8 / 25 = 0.8318: a tenth of the way is 0.005 + 0.0827 = 0.0877.
    results = [
        finished(make_result("cayley", losses=(2.0, 0.087, 0.01))),
        finished(make_result("expm", losses=(2.0, 0.088, 0.01))),
    ]
    (section,) = saved(tmp_path, results)[0].sections
    at = section.columns.index("solved at")
    found = {line.cells[0]: line.cells[at] for line in section.lines if line.kind == "scheme"}
    assert found == {"cayley": "3", "expm": "6"}


def test_a_text_is_never_solved(tmp_path, make_result, imaginary, monkeypatch):
    monkeypatch.setattr(Imaginary, "tokens", True)
    (section,) = saved(tmp_path, [finished(make_result("cayley"))])[0].sections
    assert "solved at" not in section.columns
    assert "validation" not in section.columns  # there is no validation set


def test_the_matrix_marks_the_best_of_each_section(tmp_path, make_result, imaginary):
    results = [
        finished(make_result("cayley", losses=(2.0, 0.1))),
        finished(make_result("expm", losses=(2.0, 0.2))),
        finished(make_result("expm", losses=(2.0, 0.05), hidden_size=16), variant="large"),
        finished(make_result("expm", losses=(2.0, 0.07)), variant="large"),
        finished(
            make_result("gru", losses=(2.0, 0.3), defect=None, unitary_optimizer=None),
            variant="large",
        ),
    ]
    report, (html, markdown) = saved(tmp_path, results)
    lines = dict(Matrix(report.sections).lines)
    assert list(lines) == ["cayley", "expm", "gru"]  # baselines come last
    large, small = range(2)
    assert [section.task.variant for section in report.sections] == ["large", "small"]
    assert (lines["expm"][large].text, lines["expm"][large].best) == ("1.05", True)  # exp(0.05)
    assert (lines["cayley"][small].best, lines["expm"][small].best) == (True, False)
    assert lines["cayley"][large].text == ""
    assert "| expm | **1.05** | 1.22 |" in markdown
    assert "1.05 ★" in html
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))


def test_a_layer_of_gates_is_named(make_result):
    task = Copying(5)
    unitary = Row((make_result("lie_exp", layer="gru"),), task)
    assert unitary.label == "lie_exp GRU, n = 8"
    assert unitary.cells("")["model"] == "lie_exp GRU"
    assert Row((make_result("lie_exp"),), task).label == "lie_exp, n = 8"
    assert Row((make_result("gru", layer="gru", unitary_optimizer=None),), task).name == "gru"


def test_lines_of_one_model_are_told_apart_by_what_differs(make_result):
    def row(**setting):
        return Row((make_result("projunn_d", **setting),), Copying(5))

    alone = row(hidden_size=16)
    assert labels([alone, row()]) == ["projunn_d, n = 16", "projunn_d, n = 8"]
    ranked, usual, longer = row(options=(("rank", 2),)), row(), row(iterations=70)
    found = labels([alone, ranked, usual, longer])
    assert found[0] == "projunn_d, n = 16"
    assert [text.replace("\n", " ") for text in found[1:]] == [
        f"projunn_d, n = 8, {usual.setting.iterations} × {usual.setting.batch_size}, rank=2",
        f"projunn_d, n = 8, {usual.setting.iterations} × {usual.setting.batch_size}",
        f"projunn_d, n = 8, 70 × {usual.setting.batch_size}",
    ]
    assert all(len(line) <= 40 for text in found for line in text.split("\n"))
    looks = plots.looks(["a", "b", "a"], plots.styles(["a", "b"], []))
    assert looks[0].color == looks[2].color
    assert len({(look.color, look.dash) for look in looks}) == 3


def test_the_best_of_several_starts_stands_beside_their_mean(make_result):
    def row(task, *losses):
        found = [
            make_result(task=task, length=5, seed=seed, losses=(2.0, loss))
            for seed, loss in enumerate(losses)
        ]
        return Row(tuple(found), TASKS.get(task)(5))

    starts = row("unitary_system", 0.5, 0.125, 0.25)
    assert starts.measured() == f"{starts.mean(starts.metric)}, best of 3: 0.125"
    assert starts.cells("")["normalised MSE"] == starts.measured()
    assert row("unitary_system", 0.5).measured() == "0.5"
    # Where the seed draws the problem too, the best is the luckiest.
    assert "best" not in row("contractive_system", 0.5, 0.125).measured()


def test_a_baseline_is_not_said_to_have_what_is_a_schemes(make_result):
    told = {
        model: Row((make_result(model, nonlinearity="relu", bias=True),), Copying(5)).training
        for model in ("cayley", "rnn", "lstm", "contractive_rnn")
    }
    assert {"relu", "bias"} <= set(told["cayley"].split(", "))
    assert "relu" in told["rnn"]
    assert not any(
        word in told[model] for model in ("lstm", "contractive_rnn") for word in ("relu", "bias")
    )


def test_the_report_of_a_paper_has_its_outcomes_alone(tmp_path, make_result):
    results = [make_result("arjovsky", length=100, losses=(2.0, 0.0123), hidden_size=128)]
    pages = saved(tmp_path, results, "arjovsky2016")[1]
    assert pages[1].startswith("# Arjovsky et al. 2016\n")
    for text in pages:
        assert "Arjovsky et al. 2016" in text
        assert "PSI:ML" not in text
        assert "row vectors" in text  # what to know
        assert text.count("not run") > 5
    row = next(line for line in pages[1].splitlines() if "after 15–20 thousand" in line)
    assert "(arjovsky, n = 128, T = 100, 6 iterations) |  | [1] |" in row  # nothing differs


def test_each_row_beside_a_published_result_says_what_differs_in_it(tmp_path, make_result):
    results = [
        make_result("arjovsky", length=100, hidden_size=64),
        make_result("arjovsky", length=150, hidden_size=128),
    ]
    page = saved(tmp_path, results, "arjovsky2016")[1][1]
    row = next(line for line in page.splitlines() if "after 15–20 thousand" in line)
    ours, differs = row.split(" | ")[5:7]
    assert [text.partition("arjovsky, ")[2][:7] for text in ours.split("<br>")] == [
        "n = 64,", "n = 128",
    ]  # fmt: skip
    assert differs == "other size: 64<br>other length: 150"


def test_a_report_on_real_text_does_without_the_text(tmp_path, make_result, monkeypatch):
    monkeypatch.delenv("UNITARY_ZOO_DATA", raising=False)
    result = make_result("lie_exp", length=35, losses=(9.0, 5.0))  # of copying, which needs none
    text = finished(result, task="word_lm", variant="ptb", valid=(9.0, 5.0))
    assert "Penn Treebank" in saved(tmp_path, [text])[1][1]


@pytest.mark.parametrize("optimum", [1e-3, 0.5])
def test_the_optimum_is_on_the_figure(make_result, optimum):
    series = [plots.Series("a", plots.styles(["a"], [])["a"], (make_result(losses=(2.0, 0.9)),))]
    for draw in (plots.learning_curves, plots.loss_against_time, plots.loss_against_parameters):
        (axes,) = draw(series, 1.0, "loss", optimum).axes
        low, high = axes.get_ylim()
        assert low < optimum < 0.9 < high


def outcome(**changes):
    fixed = {
        "task": "copying", "lengths": (5,), "model": "theirs", "ours": ("cayley",), "text": "9 %",
        "tag": "V",
    }  # fmt: skip
    return Outcome(**{**fixed, **changes})


@pytest.mark.parametrize(
    ("changes", "labels", "differs"),
    [
        ({}, ["plain", "wide", "gates"], ""),  # three at most
        ({"size": 16}, ["wide"], ""),
        ({"lengths": (7,), "size": 16}, ["wide"], "other length: 5"),
        ({"size": 32, "setting": (("layer", "gru"),)}, ["gates"], "other size: 8"),
        ({"setting": (("negative_ones", 3),)}, ["option"], ""),
        ({"setting": (("negative_ones", 3),), "size": 32}, ["option"], "other size: 8"),
        (
            {"setting": (("negative_ones", 5),), "size": 16},
            ["wide"],
            "other negative ones: its default",
        ),
        ({"ours": ("expm",)}, [], ""),
    ],
)
def test_rows_that_differ_least_stand_beside_an_outcome(make_result, changes, labels, differs):
    forms = {
        "plain": {},
        "wide": {"hidden_size": 16},
        "gates": {"layer": "gru"},
        "option": {"options": (("negative_ones", 3),)},
    }
    found = [
        Row((make_result("cayley", source=label, **form),), Copying(5))
        for label, form in forms.items()
    ]
    ours = published._ours(outcome(**changes), found, any_data=True)
    assert [row.source for row in ours] == labels
    assert all(row.differs == differs for row in ours)


def test_of_several_published_sizes_the_nearest_stands_beside_ours(make_result, monkeypatch):
    told = {
        size: outcome(model=f"theirs {size}", size=size, text=f"{size} %") for size in (4, 8, 32)
    }
    other = outcome(model="another 99", size=99)
    paper = Paper("A", "B", "C", outcomes=(*told.values(), other))
    monkeypatch.setattr(published, "PAPERS", {"paper": paper})
    rows = [Row((make_result("cayley", hidden_size=24),), Copying(5))]
    listed, left_out = published.comparisons_on("copying", rows, None)
    assert [item.outcome for item in listed] == [told[32], other]
    assert left_out == 2
    rows.append(Row((make_result("cayley", hidden_size=8),), Copying(5)))
    listed, left_out = published.comparisons_on("copying", rows, None)
    assert [item.outcome.size for item in listed] == [8, 99]  # 8 is ours as well
    assert published.comparisons_on("copying", rows, paper) == (
        tuple(published.Comparison("A", o, published._ours(o, rows, True)) for o in paper.outcomes),
        0,
    )


def test_other_data_are_named_and_not_mixed(make_result, imaginary):
    own = finished(make_result("cayley"), variant="large")
    row = Row((own,), Imaginary(5, "large"))
    same = outcome(task="imaginary", variant="large")
    other = outcome(task="imaginary", variant="small")
    assert published._ours(same, [row], any_data=False)[0].differs == ""
    assert published._ours(other, [row], any_data=False) == ()
    assert published._ours(other, [row], any_data=True)[0].differs == "other data: large"


def test_the_least_test_loss_counts_where_the_paper_takes_it(make_result, tmp_path):
    losses = (2.0, 0.01, 0.5)
    last = make_result("cayley", losses=losses)
    best = make_result("cayley", losses=losses, best_test=True)
    assert last.chosen is last.curve[2]
    assert best.chosen is best.curve[1]
    assert last.run.id == best.run.id  # the same training, told in another way
    Store(tmp_path).save(best)
    text = write_report(tmp_path).pages[1].read_text(encoding="utf-8")
    assert "least of all evaluations" in text
    assert "best at" in text
