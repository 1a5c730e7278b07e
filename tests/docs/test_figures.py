"""The figures inside the pages: of every recorded benchmark and of exported comparisons."""

import json
import re
from collections import Counter
from pathlib import Path

import benchmark_figures
import drawing
import pytest
import result_figures

DOCS = Path(__file__).parents[2] / "docs"
STYLES = (DOCS / "stylesheets" / "figures.css").read_text(encoding="utf-8")


def test_colors_of_figures_are_those_of_the_page():
    with drawing.drawn("Some & more", 2.0) as (axes, figure):
        for color in (*drawing.COLORS, drawing.QUIET):
            axes.plot([0, 1], color=color, label=color)
        axes.set_xlabel("x")
    (svg,) = figure
    shown = set(re.findall(r"var\((--figure-\w+)\)", svg))
    assert len(shown) == len(drawing.COLORS) + 2  # of lines and of the grid
    dark = STYLES.partition('[data-md-color-scheme="slate"]')[2]
    light = STYLES.partition('[data-md-color-scheme="slate"]')[0]
    assert all(f"{name}: #" in half for half in (light, dark) for name in shown)
    assert not re.search(r"(fill|stroke): #", svg)
    assert "currentColor" in svg


def test_figures_are_named_and_do_not_disturb_their_page():
    figures = []
    for _ in range(2):
        with drawing.drawn("Some & more", 2.0) as (axes, figure):
            axes.plot([0, 1], marker="o")
        figures += figure
    page = drawing.side_by_side(figures, "A caption.")
    assert page.count('role="img" aria-label="Some &amp; more"') == 2
    assert "<style" not in page  # it would hold for the whole page
    assert "\n\n" not in page.partition("</div>")[0]  # Markdown would end the figure there
    groups = Counter(re.findall(r'<g id="([^"]*)"', page))
    assert not groups


@pytest.mark.usefixtures("undrawn")
def test_figures_of_benchmarks_name_what_they_measured():
    for name, draw in benchmark_figures.FIGURES.items():
        path = DOCS / "benchmarks" / f"{name}.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        page = draw(found)
        assert "<svg " in page
        for row in found.get("schemes", ()) or found.get("conditions", ()):
            if row.get("build_ms") or "median" in row:
                assert row["scheme"] in page
        for row in found.get("times", ()):
            assert row["step"] in page


def test_figures_of_benchmarks_have_a_recorded_file():
    recorded = {path.stem for path in (DOCS / "benchmarks").glob("*.json")}
    assert set(benchmark_figures.FIGURES) == recorded - {"silent_failures"}


@pytest.mark.parametrize(("loss", "shown"), [(0.0, 1.0), (0.4, 0.5), (1.2, -0.5)])
def test_score_is_the_share_of_the_way_from_the_loss_without_memory(loss, shown):
    run = {"task": "copying", "T": 5, "variant": "", "model": "expm", "optimum": None}
    run |= {"loss": loss, "baseline": 0.8, "memoryless": 0.8}
    assert result_figures.score([run], "expm") == pytest.approx(shown)
    assert result_figures.score([run], "cayley") is None


def test_score_on_a_text_counts_from_the_least_loss():
    run = {"task": "char_lm", "T": 50, "variant": "topics", "optimum": None, "memoryless": 3.0}
    runs = [{**run, "model": model, "loss": loss} for model, loss in (("qr", 1.0), ("expm", 2.0))]
    assert result_figures.score(runs, "expm") == pytest.approx(0.5)


def test_models_of_single_seeds_have_no_order():
    run = {"task": "copying", "T": 5, "variant": "", "optimum": None, "memoryless": 0.8}
    losses = {"lstm": 0.0, "qr": 0.2, "cayley": 0.4}
    for seeds, order in ((1, ["cayley", "qr", "lstm"]), (2, ["lstm", "qr", "cayley"])):
        runs = [{**run, "model": name, "loss": losses[name], "seeds": seeds} for name in losses]
        assert result_figures._by_mean_score([runs]) == order
