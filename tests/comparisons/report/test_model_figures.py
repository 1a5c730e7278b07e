"""Figures of what happened inside a model."""

from comparisons.records import Probes
from comparisons.report.model_figures import inside_model, model_drawings
from comparisons.report.model_sections import Inside, ModelSection

PROBES = Probes((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (1, 5, 10), (0.25, 0.5, 1.0))
SCHEME = Inside("copying-T5", "Copying, T = 5", "urnn", 0, PROBES, (0, 3), (0.0, 1e-6))
LSTM = Inside("copying-T5", "Copying, T = 5", "lstm", 0, Probes(None, None, (1, 2), (0, 1)), (), ())


def section(name, *inside):
    return ModelSection(name, "scheme", "", "", inside)


def test_inside_model_draws_phases_defects_and_gradients():
    phases, defects, gradients = inside_model([SCHEME]).axes
    before, after = phases.collections
    assert sorted(before.get_positions()) == [-1.0, 0.0, 1.0]
    assert sorted(after.get_positions()) == [-2.0, 0.0, 2.0]
    assert list(defects.lines[0].get_xdata()) == [0, 3]
    assert list(defects.lines[0].get_ydata()) == [1e-17, 1e-6]
    assert list(gradients.lines[0].get_ydata()) == [0.25, 0.5, 1.0]


def test_inside_model_has_no_column_for_what_no_row_has():
    (gradients,) = inside_model([LSTM]).axes
    assert list(gradients.lines[0].get_xdata()) == [2]  # a norm of zero is on no log scale
    assert len(inside_model([LSTM, SCHEME]).axes) == 6


def test_model_drawings_are_one_file_of_each_model_that_was_measured():
    nothing = Inside("copying-T5", "Copying, T = 5", "closed", 0, Probes(), (), ())
    sections = [section("expm GRU", SCHEME), section("closed", nothing), section("older")]
    (drawing,) = model_drawings(sections)
    assert drawing.name == "model-expm-GRU"
