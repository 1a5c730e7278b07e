"""Which lines of a figure have a look of their own."""

import pytest

from comparisons.models import MODELS
from comparisons.report.highlights import LOOKS, highlighted, others
from comparisons.report.style import styles
from comparisons.report.task_section import Series

SCHEMES = ("arjovsky", "cayley", "dtriv", "eunn", "expm", "full_capacity", "householder", "qr")
BASELINES = ("gru", "irnn", "lstm", "rnn")


@pytest.fixture
def line(make_result):
    """A series of a model with a final loss."""
    looks = styles(SCHEMES, BASELINES)

    def make(model, loss, label=None):
        style = looks.get(model, looks["qr"])
        return Series(label or model, style, (make_result(model, losses=(2.0, loss)),))

    return make


def names(series):
    return [line.label for line in series]


def test_highlighted_are_all_where_an_eye_can_tell_them_apart(line):
    series = [line(model, 0.5) for model in (*SCHEMES[:4], *BASELINES)]
    assert names(highlighted(series)) == names(series)
    assert not others(series)


def test_highlighted_are_the_best_schemes_and_the_best_baseline(line):
    schemes = [line(model, 0.1 * i + 0.1) for i, model in enumerate(SCHEMES)]
    baselines = [line(model, loss) for model, loss in zip(BASELINES, (3, 2, 0.01, 4), strict=True)]
    found = highlighted([*baselines, *schemes])
    assert names(found) == ["lstm", *SCHEMES[:7]]
    assert set(names(others([*baselines, *schemes]))) == {"gru", "irnn", "rnn", "qr"}
    assert len({line.style.color for line in found}) == LOOKS


def test_highlighted_has_models_of_plugins_whatever_their_loss(line):
    series = [line(model, 0.5) for model in (*SCHEMES, *BASELINES)]
    with MODELS.override(mine=lambda width, settings: None):
        assert "mine" in names(highlighted([*series, line("mine", 9.0)]))


def test_highlighted_is_the_best_line_of_each_model_before_a_second_one(line):
    series = [line("qr", 0.01 * i + 0.01, f"qr {i}") for i in range(20)]
    series += [line("expm", 0.9), line("lstm", 1.9)]
    found = names(highlighted(series))
    assert {"qr 0", "expm", "lstm"} < set(found)
    assert found[:6] == [f"qr {i}" for i in range(6)]
