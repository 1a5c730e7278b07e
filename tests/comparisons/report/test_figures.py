"""Figures: what is drawn where."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from comparisons.models import is_baseline, model_names
from comparisons.records import Optimizer
from comparisons.report import figures
from comparisons.report.levels import Levels
from comparisons.report.size_curves import SizeCurve
from comparisons.report.size_figure import metric_against_size
from comparisons.report.style import DASHES, OTHERS, PALETTE, line_styles, styles
from comparisons.report.task_section import Series

STYLES = styles(["urnn"], ["lstm", "rnn"])


@pytest.fixture
def series(make_result):
    """Two seeds of a scheme, and a baseline."""
    seeds = [make_result(seed=seed, losses=(2.0, 0.5, 0.1 + seed)) for seed in (0, 1)]
    lstm = make_result("lstm", losses=(2.0, 0.7, 0.6), defect=None, unitary_optimizer=None)
    return (Series("urnn", STYLES["urnn"], tuple(seeds)), Series("lstm", STYLES["lstm"], (lstm,)))


def drawn(axes) -> dict[str, tuple[list[float], list[float]]]:
    """Places and values of the lines that have a label."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


@pytest.mark.parametrize(
    ("draw", "places"),
    [(figures.learning_curves, [0, 3, 6]), (figures.loss_against_time, [0, 0.1, 0.2])],
)
def test_curves_are_means_with_the_range_of_the_seeds(series, draw, places):
    (axes,) = draw(series, Levels(0.17, 0.15), "loss").axes
    lines = drawn(axes)
    assert lines["urnn"] == (pytest.approx(places), pytest.approx([2.0, 0.5, 0.6]))
    assert lines["lstm"][1] == [2.0, 0.7, 0.6]
    assert lines["memoryless baseline"][1] == [0.15, 0.15]
    assert lines["constant baseline"][1] == [0.17, 0.17]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert {0.1, 1.1} <= set(heights)  # of the two seeds at the last iteration


def test_curves_are_means_of_the_seeds_that_came_so_far(series):
    whole, other = series[0].results
    stopped = replace(other, curve=other.curve[:2], stopped="diverged")
    line = replace(series[0], results=(stopped, whole))
    (axes,) = figures.learning_curves([line], Levels(0.17), "loss").axes
    assert drawn(axes)["urnn"] == ([0, 3, 6], pytest.approx([2.0, 0.5, 0.1]))


def test_loss_against_parameters_has_a_point_for_each_series(series):
    (axes,) = figures.loss_against_parameters(series, Levels(0.17), "loss").axes
    lines = drawn(axes)
    assert lines["urnn"] == ([1234], [pytest.approx(0.6)])
    assert lines["lstm"] == ([1234], [0.6])


def test_defects_are_drawn_for_schemes_only(series):
    (axes,) = figures.defects(series).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["urnn"]
    assert drawn(axes) == {"start": ([1e-7], [0]), "end": ([1e-7], [0])}


@pytest.mark.parametrize("optimum", [1e-3, 0.5])
def test_curves_show_the_optimum(series, optimum):
    for draw in (
        figures.learning_curves, figures.loss_against_time, figures.loss_against_parameters,
    ):  # fmt: skip
        (axes,) = draw(series, Levels(1.0, 1.0, optimum), "loss").axes
        low, high = axes.get_ylim()
        assert low < optimum < 0.9 < high
        assert drawn(axes)["optimum"][1] == [optimum, optimum]
        assert "constant baseline" not in drawn(axes)  # the memoryless one is the same


def test_curves_show_eight_models_in_styles_of_their_own_and_the_others_in_grey(make_result, build):
    results = [
        make_result(model, unitary_optimizer=None if is_baseline(model) else Optimizer("sgd", 1.0))
        for model in model_names()
    ]
    (section,) = build(results).sections
    (axes,) = figures.learning_curves(section.series, section.levels, "loss").axes
    labels = [label for label in drawn(axes) if "n = 8" in label]
    assert len(labels) == 8
    assert f"{len(model_names()) - 8} others" in drawn(axes)
    colors = {to_hex(line.get_color()) for line in axes.lines if line.get_label() in labels}
    assert len(colors) == 8
    assert OTHERS["color"] not in colors
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(curves) == len(model_names())


def test_drawings_are_four_figures_of_a_section(build, make_result):
    (section,) = build([make_result("cayley")]).sections
    found = figures.drawings(section)
    kinds = ("curves", "time", "parameters", "defect")
    assert [drawing.name for drawing in found] == [f"copying-T5-{kind}" for kind in kinds]


def test_drawings_of_baselines_show_no_defect(build, make_result):
    gru = make_result("gru", defect=None, unitary_optimizer=None)
    (section,) = build([gru]).sections
    assert len(figures.drawings(section)) == 3


def test_drawings_over_sizes_are_one_figure(build, make_result):
    results = [make_result("cayley", hidden_size=size) for size in (4, 6, 8)]
    (section,) = build(results).sections
    (drawing,) = figures.drawings(section)
    assert drawing.name == "copying-T5-sizes"


def test_save_figure_writes_png_and_svg_that_are_equal_for_equal_results(series, tmp_path):
    for name in ("one", "two"):
        figures.save_figure(figures.defects(series), tmp_path / f"{name}.T5-defect")
    svg = (tmp_path / "one.T5-defect.svg").read_bytes()
    assert svg == (tmp_path / "two.T5-defect.svg").read_bytes()
    assert b"</svg>" in svg
    assert (tmp_path / "one.T5-defect.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------------- styles, sizes


def test_styles_of_schemes_are_different():
    names = [f"scheme{i}" for i in range(len(PALETTE) * len(DASHES))]
    looks = {(s.color, str(s.dash)) for s in styles(names, ["lstm"]).values()}
    assert len(looks) == len(names) + 1


def test_line_styles_tell_lines_of_one_model_apart():
    looks = line_styles(["a", "b", "a"], styles(["a", "b"], []))
    assert looks[0].color == looks[2].color
    assert len({(look.color, look.dash) for look in looks}) == 3


CURVES = (
    SizeCurve("urnn", "urnn", STYLES["urnn"], {4: (0.5, 0.7), 6: (0.6,), 8: (0.9,)}, unitary=True),
    SizeCurve("rnn", "rnn", STYLES["rnn"], {4: (0.2,), 6: (0.3,), 8: (0.4,)}, unitary=False),
    SizeCurve(
        "urnn", "theirs", STYLES["urnn"], {2: (0.8,), 10: (0.9,)}, unitary=True, published=True
    ),
)


def over_sizes(curves: Sequence[SizeCurve], optimum: float | None, halve_unitary_units: bool):
    return metric_against_size(curves, "R²", optimum, halve_unitary_units).axes


def lines(axes):
    """By label or colour and whether hollow: places and values."""
    return {
        (to_hex(line.get_color()).upper(), line.get_fillstyle()): (
            list(line.get_xdata()),
            list(line.get_ydata()),
        )
        for line in axes.lines
    }


def test_metric_against_size_halves_the_units_of_unitary_models_in_the_second_panel():
    left, right = over_sizes(CURVES, 0.9, halve_unitary_units=True)
    urnn, rnn = STYLES["urnn"].color.upper(), STYLES["rnn"].color.upper()
    means = [statistics.fmean(values) for values in CURVES[0].values.values()]
    assert lines(left)[urnn, "full"] == ([4, 6, 8], pytest.approx(means))
    assert lines(right)[urnn, "full"] == ([2, 3, 4], pytest.approx(means))
    assert lines(right)[rnn, "full"][0] == [4, 6, 8]
    assert lines(left)[urnn, "none"][0] == [2, 10]  # published: hollow
    assert lines(right)[urnn, "none"][0] == [1, 5]
    for axes in (left, right):
        assert lines(axes)["#C00000", "full"][1] == [0.9, 0.9]


def test_metric_against_size_without_optimum_draws_no_line():
    (single,) = over_sizes(CURVES, None, halve_unitary_units=False)
    assert ("#C00000", "full") not in lines(single)


def test_metric_against_size_draws_other_models_in_grey_and_without_what_is_published():
    (axes,) = metric_against_size(CURVES, "R²", None, False, models={"rnn"}).axes
    assert [line.get_label() for line in axes.lines] == ["1 other", "rnn"]
    assert axes.lines[0].get_color() == OTHERS["color"]


def test_metric_against_size_shades_the_standard_error():
    (axes,) = over_sizes(CURVES[:1], None, halve_unitary_units=False)
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    # 0.5 and 0.7: mean 0.6, standard deviation 0.1414, standard error 0.1
    assert heights.min() == pytest.approx(0.5)
    assert 0.7 in [pytest.approx(height) for height in heights]
