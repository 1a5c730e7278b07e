"""The picture on a scheme's page: what was recorded inside one training."""

import json
import math
from dataclasses import replace

import pytest
import scheme_pictures

from comparisons.records import Probes
from comparisons.report.export import records


@pytest.fixture
def docs(make_result, tmp_path):
    """The folder of a documentation with one training of a scheme and one of a baseline."""
    phases = (-1.0, 0.0, 1.0)
    probes = {
        "cayley": Probes(phases, phases, (1, 2, 3), (0.5, 0.25, 0.0)),
        "lstm": Probes(None, None, (1, 2, 3), (0.5, 0.25, 0.125)),
    }
    results = []
    for model, found in probes.items():
        result = make_result(model)
        curve = tuple(replace(p, defect=1e-7 if model == "cayley" else None) for p in result.curve)
        results.append(replace(result, probes=found, curve=curve))
    (tmp_path / "results").mkdir()
    runs = records([*results, make_result("qr")])
    text = json.dumps({"images": [], "failed": [], "runs": runs})
    (tmp_path / "results" / "quick.json").write_text(text)
    return tmp_path


def test_picture_shows_phases_defect_and_gradients_with_their_origin(docs):
    text = scheme_pictures.inside("cayley", docs)
    labels = ("Eigenphases of cayley", "Unitarity defect of cayley", "Norm of the gradient by the")
    assert text.count("<svg ") == len(labels)
    assert all(f'aria-label="{label}' in text for label in labels)
    assert ">lstm<" in text  # beside which the gradients are drawn
    assert "Copying memory, T = 5, seed 0: the eigenphases of W before" in text
    assert "`python comparisons/run_all.py --preset imaginary`" in text


@pytest.mark.usefixtures("undrawn")
def test_picture_of_a_model_without_a_matrix_shows_gradients_alone(docs):
    text = scheme_pictures.inside("lstm", docs)
    assert text.count("<svg ") == 1
    assert "eigenphases" not in text


def test_picture_of_a_training_without_probes_is_left_out(docs, tmp_path):
    assert scheme_pictures.inside("qr", docs) == ""
    assert scheme_pictures.inside("cayley", tmp_path / "nothing") == ""


def test_zeros_are_left_out_of_a_logarithmic_axis():
    places, values = scheme_pictures._positive([(1, 0.5), (2, 0.0)])
    assert places == [1, 2]
    assert values[0] == 0.5
    assert math.isnan(values[1])
