"""The tables of the pages are made from recorded files."""

import json
import re
import runpy
import statistics
from pathlib import Path

import pytest

from comparisons.benchmarks import timing
from comparisons.report.export import records

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def hook():
    return runpy.run_path(str(DOCS / "gen_tables.py"))


@pytest.fixture
def show(hook, tmp_path):
    """Show the text of a page with the files of a temporary folder."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "results").mkdir()
    return lambda text: hook["on_page_markdown"](text, page=None, config=None, docs=tmp_path)


def tables(page: str) -> list[list[list[str]]]:
    """The cells of the tables of a page, without the rules below their headings."""
    blocks = re.findall(r"(?:^\|.*\n?)+", page, flags=re.MULTILINE)
    rows = [[re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in b.splitlines()] for b in blocks]
    return [[table[0], *table[2:]] for table in rows]


def markers(kind: str) -> list[str]:
    """Names of that kind of recorded file that the pages show."""
    texts = [page.read_text(encoding="utf-8") for page in DOCS.glob("*.md")]
    return [name for text in texts for name in re.findall(rf"<!-- {kind}: (\w+) -->", text)]


def test_hook_leaves_other_comments_alone(show):
    text = "# Title\n<!-- leaders -->\n<!-- other: thing -->\n"
    assert show(text) == text


@pytest.mark.parametrize("page", ["choosing", "experiments", "speed", "silent_failures"])
def test_pages_show_every_recorded_file(hook, page):
    text = hook["on_page_markdown"]((DOCS / f"{page}.md").read_text("utf-8"), page=None)
    assert not re.search(r"<!-- (figures|benchmark|results|losses)", text)
    for line in text.splitlines():
        if hook["NOTHING"] in line:  # the command that makes it, so the file is not there
            name = re.findall(r"results/(\w+)`|--json docs/benchmarks/(\w+)\.json", line)[-1]
            assert not list(DOCS.glob(f"*/{''.join(name)}.json"))


@pytest.mark.parametrize("name", markers("benchmark"))
def test_benchmark_shows_a_figure_or_an_open_table(hook, name):
    page = hook["benchmark"](name, DOCS)
    assert (name in hook["FIGURES"]) != ('<details markdown="1" open' in page)


def test_recorded_files_are_shown():
    recorded = {path.stem for path in (DOCS / "benchmarks").glob("*.json")}
    assert recorded <= set(markers("benchmark"))
    exported = {path.stem for path in (DOCS / "results").glob("*.json")}
    assert exported <= set(markers("results"))


def test_figures_stand_before_the_tables():
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"<!-- figures: (\w+) -->", text):
            assert text.index(f"figures: {name}") < (text + f"benchmark: {name}").index(
                f"benchmark: {name}"
            )


def test_intervals_of_older_exports_are_those_of_their_mean_and_spread(hook, make_result):
    results = [make_result("cayley", seed=seed) for seed in range(3)]
    (run,) = records(results)
    values = [20.0, 25.0, 36.0]
    run |= {"seed_metrics": values, "metric": statistics.fmean(values)}
    older = {**run, "metric_spread": statistics.stdev(values)}
    del older["seed_metrics"]
    found, again = hook["metric"](run), hook["metric"](older)
    assert (again.low, again.high) == (pytest.approx(found.low), pytest.approx(found.high))


def test_interval_of_a_loss_holds_no_negative_value(hook):
    losses = [0.01, 0.01, 0.08]
    assert hook["metric"]({"seed_metrics": losses, "seed_losses": losses}).low > 0
    assert hook["metric"]({"seed_metrics": losses, "seed_losses": [1.0, 2.0, 3.0]}).low < 0


def test_missing_files_show_the_command_that_makes_them(hook, show):
    page = show("<!-- benchmark: memory -->\n<!-- results: psiml2017 -->\n")
    assert page.count(hook["NOTHING"]) == 2
    command = "python -m comparisons.benchmarks memory --json docs/benchmarks/memory.json"
    assert f"`{command}`" in page
    assert "`python comparisons/run_all.py --paper psiml2017`" in page
    assert "`python -m comparisons.report.export results/psiml2017`" in page
    assert not tables(page)


def test_benchmark_shows_its_tables_and_origin(show, tmp_path, monkeypatch):
    machine = {"cpu": "Imaginary CPU 9000", "instructions": "NONE", "cores": 3}
    monkeypatch.setattr(timing, "describe_machine", lambda device: machine)
    monkeypatch.setattr("sys.argv", ["scan_speed.py", "--rounds", "99"])
    rows = [
        {"case": "a|b", "their_ms": 1.25, "target": None, "met": True},
        {"case": "c", "their_ms": 250.25, "target": 3, "met": False},
    ]
    path = tmp_path / "benchmarks" / "scan_speed.json"
    timing.write_json(path, [0.5, 0.0, 0.0], speed=rows, limit=[{"threads": 2}])
    page = show("<!-- benchmark: scan_speed -->")
    for fact in ("Imaginary CPU 9000", "3 cores", "--rounds 99", timing.versions()["torch"], "0.5"):
        assert fact in page
    assert "`python -m comparisons.benchmarks scan_speed --json" in page
    assert tables(page) == [
        [["case", "their ms", "target", "met"], ["a\\|b", "1.25", "–", "yes"],
         ["c", "250", "3", "no"]],
        [["threads"], ["2"]],
    ]  # fmt: skip
    assert "| --- | --: | --: | --: |" in page  # numbers to the right


def test_benchmark_shows_the_schemes_by_field_and_size(show, tmp_path):
    row = {"scheme": "cayley", "field": "real", "n": 128, "parameters": 8128, "build_ms": 1.5}
    rows = [row, {**row, "scheme": "expm"}, {**row, "n": 512}, {**row, "field": "complex"}]
    path = tmp_path / "benchmarks" / "scheme_speed.json"
    timing.write_json(path, schemes=rows, memory=[{"scheme": "arjovsky", "held_mb": 7.0}])
    page = show("<!-- benchmark: scheme_speed -->")
    titles = [line.strip("*") for line in page.splitlines() if line.startswith("**")]
    assert titles == ["real, n = 128", "real, n = 512", "complex, n = 128"]
    assert tables(page)[0] == [
        ["scheme", "parameters", "build ms"], ["cayley", "8128", "1.5"], ["expm", "8128", "1.5"],
    ]  # fmt: skip
    assert tables(page)[-1] == [["scheme", "held mb"], ["arjovsky", "7"]]


def keep(folder: Path, name: str, runs, failed=()) -> None:
    """Write the file of an exported comparison."""
    found = {"runs": runs, "images": [], "failed": list(failed)}
    (folder / "results" / f"{name}.json").write_text(json.dumps(found))


def test_results_show_the_records_of_each_place(show, tmp_path, make_result):
    runs = records(
        [
            make_result("cayley", losses=(2.0, 0.25)),
            make_result("cayley", seed=1, losses=(2.0, 0.5)),
            make_result("lstm", losses=(2.0, 0.75), defect=None, unitary_optimizer=None),
        ]
    )
    failed = ["Copying memory, T = 5: rnn, n = 8 (DivergedError): seeds 0, 3"]
    runs[1]["published"] = "≈ 26 [F]"
    keep(tmp_path, "psiml2017", runs, failed)
    page = show("<!-- results: psiml2017 -->")
    ((columns, cayley, lstm),) = tables(page)
    assert dict(zip(columns, cayley, strict=True)) == {
        "model": "cayley", "n": "8", "seeds": "2", "iterations": "6", "batch": "4",
        "training": runs[0]["training"], "accuracy %": "25 [25, 25] (median 25)", "loss": "0.375",
        "published": "",
    }  # fmt: skip
    assert lstm[6:] == ["25", "0.75", "≈ 26 [F]"]
    assert page.count("<svg ") == 1
    assert 'aria-label="Learning curves, Copying memory, T = 5"' in page
    assert failed[0] in page
    for fact in ("2026-01-02", "`python comparisons/run_all.py --preset imaginary`", "torch 2"):
        assert fact in page


def test_results_without_published_ones_have_no_column_for_them(show, tmp_path, make_result):
    keep(tmp_path, "quick", records([make_result("cayley")]))
    ((columns, _),) = tables(show("<!-- results: quick -->"))
    assert "published" not in columns


def test_results_of_many_tasks_are_a_matrix(show, tmp_path, make_result):
    (run,) = records([make_result("cayley")])
    runs = [
        {**run, "T": i + 1, "title": f"Task {i}", "model": model, "seed_metrics": [metric]}
        for i in range(9)
        for model, metric in [("expm", 0.5), ("lstm", 0.25)][: 2 if i else 1]
    ]
    keep(tmp_path, "quick", runs)
    ((columns, expm, lstm, nothing),) = tables(show("<!-- results: quick -->"))
    assert columns[:2] == ["model", "Task 0, T = 1: accuracy %"]
    assert expm == ["expm"] + ["0.5"] * 9
    assert lstm == ["lstm", "–"] + ["0.25"] * 8
    assert set(nothing[1:]) == {"0.8318"}  # the memoryless baseline, 10 ln 8 / 25


def losses_of(make_result):
    return records(
        [
            make_result("cayley", losses=(2.0, 0.25), defect=1e-7),
            make_result("cayley", seed=1, losses=(2.0, 0.75), defect=3e-7),
            make_result("cayley", task="adding", losses=(1.0, 0.5, 0.125)),
            make_result("lstm", losses=(2.0, 0.5), defect=None, unitary_optimizer=None),
        ]
    )


def test_losses_are_one_row_for_each_model(show, tmp_path, make_result):
    elsewhere = {**losses_of(make_result)[0], "task": "elsewhere", "n": 99}  # of no column
    keep(tmp_path, "quick", [*losses_of(make_result), elsewhere])
    page = show("<!-- losses: quick -->")
    ((columns, nothing, cayley, lstm),) = tables(page)
    assert dict(zip(columns, cayley, strict=True)) == {
        "scheme": "cayley", "field": "real", "n": "8",
        "seeds": "1",  # of the task that has the fewest
        "copying loss": "0.5", "copying seconds": "0.1", "adding loss": "0.125",
        "adding seconds": "0.2", "defect": "3e-07",
    }  # fmt: skip
    assert lstm == ["lstm", "–", "8", "1", "0.5", "0.1", "–", "–", "–"]
    assert nothing[4] == "0.832"  # 10 ln 8 / 25
    assert "`python comparisons/run_all.py --preset imaginary`" in page


def test_losses_of_several_lengths_are_refused(show, tmp_path, make_result):
    keep(tmp_path, "quick", records([make_result("cayley"), make_result("cayley", length=6)]))
    with pytest.raises(ValueError, match="cayley has several records on copying"):
        show("<!-- losses: quick -->")


def test_results_are_sorted_by_loss_only_where_all_have_several_seeds(hook):
    runs = [
        {"model": model, "n": n, "seeds": 3, "loss": loss}
        for model, n, loss in [("lstm", 4, 0.1), ("qr", 4, 0.3), ("cayley", 8, 0.2)]
    ]
    assert [run["model"] for run in hook["in_order"](runs)] == ["lstm", "cayley", "qr"]
    runs[1]["seeds"] = 1
    assert [run["model"] for run in hook["in_order"](runs)] == ["cayley", "qr", "lstm"]


def test_results_of_single_seeds_say_that_their_order_means_nothing(
    hook, show, tmp_path, make_result
):
    for seeds, said in ((1, True), (2, False)):
        runs = [{**run, "seeds": seeds} for run in records([make_result("cayley")])]
        keep(tmp_path, "quick", runs)
        assert (hook["BY_NAME"] in show("<!-- results: quick -->")) == said


def test_results_show_the_baselines_that_are_known(hook, make_result):
    (run,) = records([make_result("cayley", task="adding", length=10)])
    assert "; constant baseline 0.167, memoryless baseline 0.15" in hook["bounds"](run)
    older = {key: value for key, value in run.items() if key != "memoryless"}
    assert hook["bounds"](older).endswith("; constant baseline 0.167")
    (run,) = records([make_result("cayley")])
    assert hook["bounds"](run).endswith("; memoryless baseline 0.832")
