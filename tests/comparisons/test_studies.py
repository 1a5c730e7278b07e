"""Edges of what was searched, and the form of studies in files."""

import dataclasses
import json

import pytest

from comparisons.studies import Dimension, Study, Trial

RANGE = Dimension("lr", 1e-4, 1e-2)


@pytest.mark.parametrize(
    ("dimension", "value", "edge"),
    [
        (RANGE, 1e-4, "low"),
        (RANGE, 1.58e-4, "low"),  # 10 ** -3.8 is a tenth of the way
        (RANGE, 1.6e-4, ""),
        (RANGE, 6.3e-3, ""),
        (RANGE, 6.4e-3, "high"),
        (Dimension("clip", 0.0, 10.0, log=False), 1.0, "low"),
        (Dimension("clip", 0.0, 10.0, log=False), 1.1, ""),
        (Dimension("alpha", choices=(0.9, 0.5, 0.99)), 0.99, "high"),
        (Dimension("alpha", choices=(0.9, 0.5, 0.99)), 0.5, "low"),
        (Dimension("alpha", choices=(0.9, 0.5, 0.99)), 0.9, ""),
        (Dimension("unitary_ratio", choices=(0.1,)), 0.1, ""),
        (Dimension("init", choices=(None, "haar")), "haar", ""),
        (Dimension("bias", choices=(False, True)), True, ""),
    ],
)
def test_dimension_edge_is_outer_tenth_or_outermost_number(dimension, value, edge):
    assert dimension.edge(value) == edge


def test_study_survives_json_and_names_best_and_edges():
    study = Study(
        id="a", task="copying", variant="", length=5, model="lstm", hidden_size=8,
        space=(RANGE, Dimension("penalty", choices=(None, (1.0, 2.0)))), space_source="a test's",
        sampler="tpe", budget=3, seed=1000,
        trials=(
            Trial({"lr": 1e-3, "penalty": None}, "r0", 0.5),
            Trial({"lr": 9e-3, "penalty": (1.0, 2.0)}, "r1", 0.4),
            Trial({"lr": 1e-2, "penalty": None}, "r2", None, "it diverged"),
        ),
    )  # fmt: skip
    assert Study.from_dict(json.loads(json.dumps(dataclasses.asdict(study)))) == study
    assert study.best is study.trials[1]
    assert study.edges == {"lr": "high", "penalty": ""}
    failed = dataclasses.replace(study, trials=study.trials[2:])
    assert failed.best is None
    assert failed.edges == {}
