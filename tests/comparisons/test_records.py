"""Identity and form on disk of the records."""

import json
from dataclasses import replace

import pytest

from comparisons.records import Optimizer, Run, Setting

RUN = Run(
    task="copying",
    model="cayley",
    length=100,
    seed=3,
    setting=Setting.of(
        hidden_size=128,
        batch_size=20,
        iterations=1000,
        optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    ),
)


def test_run_id_never_changes():
    # Results on disk are found by these names: a change of this test loses everybody's results.
    assert RUN.id == "copying-T100-cayley-n128-seed3-b6f01a30"


def test_run_id_tells_configurations_apart_and_ignores_source():
    other_rate = RUN.setting.changed(optimizer=Optimizer("rmsprop", lr=2e-3, alpha=0.9))
    ids = {
        RUN.id,
        replace(RUN, seed=4).id,
        replace(RUN, device="cuda").id,
        replace(RUN, setting=other_rate).id,
        replace(RUN, setting=RUN.setting.changed(clip=1.0)).id,
    }
    assert len(ids) == 5
    assert replace(RUN, setting=RUN.setting.changed(source="elsewhere")).id == RUN.id


def test_setting_keeps_its_old_keys_in_files():
    setting = RUN.setting.changed(
        only_recurrent_weight=True, plateau_divisor=4.0, lr_decay=0.5, report_best_test=True,
        penalty=(1.0, 2.0), options=(("rank", 2),), source="here",
    )  # fmt: skip
    data = json.loads(json.dumps(setting.to_dict()))
    assert (data["identify"], data["anneal"], data["decay"], data["best_test"]) == (
        True,
        4,
        0.5,
        True,
    )
    assert (data["hidden_size"], data["batch_size"], data["test_size"]) == (128, 20, 1000)
    assert Setting.from_dict(data) == setting


def test_setting_of_an_older_file_takes_the_defaults():
    data = {
        "hidden_size": 3, "batch_size": 2, "iterations": 1, "unitary_optimizer": None,
        "optimizer": {"kind": "sgd", "lr": 0.1, "alpha": None},
    }  # fmt: skip
    setting = Setting.from_dict(data)
    assert setting.model.layer == "rnn"
    assert setting.evaluation.eval_every == 100


def test_run_of_an_older_file_has_no_paper_and_a_paper_is_no_part_of_the_id():
    data = RUN.to_dict()
    del data["paper"]
    assert Run.from_dict(data) == RUN
    assert replace(RUN, paper="wisdom2016").id == RUN.id


def test_setting_particulars_are_what_is_not_at_its_default():
    setting = RUN.setting.changed(
        clip=1.0, lr_decay=0.5, decay_every=2000, layer="gru", bias=True, options=(("rank", 2),),
        test_size=7, source="here",
    )  # fmt: skip
    assert RUN.setting.particulars == ("rmsprop 0.001 α=0.9",)
    assert setting.particulars[1:] == ("clip ±1", "lr × 0.5 every 2,000", "GRU", "bias", "rank=2")


def test_setting_refuses_an_unknown_field():
    with pytest.raises(TypeError, match="no field 'learning_rate'"):
        RUN.setting.changed(learning_rate=1.0)
    with pytest.raises(TypeError, match="iterations"):
        Setting.of(hidden_size=3, batch_size=2, optimizer=Optimizer("sgd", 0.1))
