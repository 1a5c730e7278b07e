"""attach: copies of an optimizer stay attached to the copies of the schemes."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import nn

from tests.optim import wrappers
from tests.optim.counting import Counting
from tests.oracles import F64, as_numpy, defect
from tests.schemes.descent import build, target_for, train
from unitary_zoo import attach


def saved(pair):
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
    "torch.save": saved,
    "optimizer first": lambda pair: tuple(copy.deepcopy(pair[::-1])[::-1]),
    "twice": lambda pair: copy.deepcopy(pickle.loads(pickle.dumps(pair))),
}
FAMILIES = [
    ("lie_exp", {}),
    ("dtriv", {"rebase_every": 2}),
    ("svd_projection", {}),
    ("landing", {}),
    ("projunn_t", {}),
]


def adam(p):
    return torch.optim.Adam(p.parameters(), lr=0.05)


@pytest.mark.parametrize(("name", "options"), FAMILIES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_copied_pair_trains_as_the_original(way, name, options):
    p = build(name, **options)
    optimizer = adam(p)
    attach(p, optimizer)
    train(p, optimizer, 3, target_for(p))
    q, copied = way((p, optimizer))
    found = train(q, copied, 3, target_for(q))
    before = as_numpy(p.matrix())
    wanted = train(p, optimizer, 3, target_for(p))
    assert (found[-1] == wanted[-1]).all()
    assert (before != wanted[-1]).any()  # the copy has not trained the original


def test_copied_pair_counts_one_step_of_each():
    p = Counting()
    optimizer = wrappers.Extended(p.parameters(), lr=0.1)
    attach(p, optimizer)
    q, copied = copy.deepcopy((p, optimizer))
    copied.step()
    assert (p.calls, q.calls) == ([], ["begin", "step"])
    optimizer.step()
    assert (p.calls, q.calls) == (["begin", "step"], ["begin", "step"])


def test_copied_wrapper_stays_attached():
    p = Counting()
    optimizer = wrappers.Plain(wrappers.Plain(torch.optim.SGD(p.parameters(), lr=0.1)))
    attach(p, optimizer)
    q, copied = copy.deepcopy((p, optimizer))
    copied.step()
    assert (p.calls, q.calls) == ([], ["begin", "step"])


def test_attach_to_a_copied_pair_takes_the_place_of_what_came_with_it():
    model = nn.ModuleList([Counting(), Counting()])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model[0], optimizer)
    attach(model[1], optimizer)
    new, copied = copy.deepcopy((model, optimizer))
    handle = attach(new[0], copied)  # a script that attaches after loading
    copied.step()
    assert [p.calls for p in new] == [["begin", "step"]] * 2
    handle.remove()
    copied.step()
    assert [p.calls for p in new] == [["begin", "step"], ["begin", "step"] * 2]


def test_removed_attachment_does_not_come_back_in_a_copy():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer).remove()
    q, copied = copy.deepcopy((p, optimizer))
    copied.step()
    assert q.calls == []


def test_copied_optimizer_keeps_no_hook_of_others():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: p.calls.append("own"))  # cannot be pickled
    attach(p, optimizer)
    q, copied = pickle.loads(pickle.dumps((p, optimizer)))
    copied.step()
    assert q.calls == ["begin", "step"]


def test_shallow_copy_of_an_optimizer_takes_the_steps():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    copy.copy(optimizer).step()
    assert p.calls == ["begin", "step"]


def test_copied_optimizer_alone_leaves_the_model():
    p = build("svd_projection")
    optimizer = adam(p)
    attach(p, optimizer)
    train(p, optimizer, 1, target_for(p))
    before = as_numpy(p.matrix())
    copy.deepcopy(optimizer).step()
    assert (as_numpy(p.matrix()) == before).all()


def test_copied_optimizer_brings_the_schemes_and_not_the_model():
    model = nn.Sequential(build("expm"), nn.Linear(4, 1000))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    attach(model, optimizer)
    assert len(pickle.dumps(optimizer)) < 4000  # the head alone has 4,000 numbers


def test_copies_of_other_optimizers_are_as_before():
    p = Counting()
    attach(p, torch.optim.SGD(p.parameters(), lr=0.1))
    other = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.3, momentum=0.9)
    other.param_groups[0]["params"][0].grad = torch.ones(2)
    other.step()
    copied = pickle.loads(pickle.dumps(other))
    assert copied.param_groups[0]["lr"] == 0.3
    assert copied.state_dict()["state"][0]["momentum_buffer"].tolist() == [1, 1]
    copied.step()
    assert p.calls == []


def test_attachment_survives_load_state_dict():
    p = build("svd_projection")
    optimizer = adam(p)
    attach(p, optimizer)
    train(p, optimizer, 1, target_for(p))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(p, optimizer, 1, target_for(p))
    assert defect(p.matrix()) <= p.info.tolerance(4, F64)


def test_attached_optimizer_is_freed_with_its_last_reference():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    optimizer.step()
    freed = weakref.ref(optimizer)
    gc.disable()
    try:
        del optimizer
        assert freed() is None
    finally:
        gc.enable()
