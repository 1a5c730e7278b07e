"""attach: optimizers inside wrappers, and one step of a scheme for each outermost step."""

import pytest
import torch

from tests.optim import wrappers
from tests.optim.counting import Counting
from tests.oracles import F64, as_numpy, defect
from tests.schemes.descent import build, cost, target_for, train
from unitary_zoo import NotProjectedError, attach, retract_
from unitary_zoo.errors import AttachError, MissedStepWarning


def sgd(p):
    return torch.optim.SGD(p.parameters(), lr=0.05, momentum=0.9)


MAKERS = {
    "plain": lambda p: wrappers.Plain(sgd(p)),
    "uninitialised": lambda p: wrappers.Uninitialised(sgd(p)),
    "outer": lambda p: wrappers.Outer(sgd(p)),
    "several": lambda p: wrappers.Several(sgd(p)),
    "plain of plain": lambda p: wrappers.Plain(wrappers.Plain(sgd(p))),
    "uninitialised of outer": lambda p: wrappers.Uninitialised(wrappers.Outer(sgd(p))),
    "outer of outer": lambda p: wrappers.Outer(wrappers.Outer(sgd(p))),
    "extended": lambda p: wrappers.Extended(p.parameters(), lr=0.05, momentum=0.9),
    "twice extended": lambda p: wrappers.TwiceExtended(p.parameters(), lr=0.05, momentum=0.9),
    "outer of extended": lambda p: wrappers.Outer(
        wrappers.Extended(p.parameters(), lr=0.05, momentum=0.9)
    ),
}


def train_wrapped(p, optimizer, steps, target):
    found = []
    for _ in range(steps):
        p.zero_grad()
        cost(p.matrix(), target).backward()
        optimizer.step()
        found.append(as_numpy(p.matrix()))
    return found


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_wrapped_optimizer_takes_one_step(make):
    p = Counting()
    optimizer = make(p)
    handle = attach(p, optimizer)
    for count in (1, 2):
        p.matrix().sum().backward()
        optimizer.step()
        assert p.calls == ["begin", "step"] * count
    handle.remove()
    optimizer.step()
    assert p.calls == ["begin", "step"] * 2


# landing would refuse a second begin_step_, projunn_t draws by the number of steps, and dtriv
# counts them and moves the momentum.
@pytest.mark.parametrize(
    ("name", "options"),
    [("dtriv", {"rebase_every": 3}), ("svd_projection", {}), ("landing", {}), ("projunn_t", {})],
)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_wrapped_optimizer_trains_as_the_base(make, name, options):
    p, q = build(name, **options), build(name, **options)
    plain, wrapped = sgd(p), make(q)
    attach(p, plain)
    attach(q, wrapped)
    wanted = train(p, plain, 5, target_for(p))
    found = train_wrapped(q, wrapped, 5, target_for(q))
    assert (found[-1] == wanted[-1]).all()  # the operations are the same


def test_step_after_one_that_failed_counts_once():
    p = Counting()
    optimizer = wrappers.Extended(p.parameters(), lr=0.1)
    attach(p, optimizer)
    optimizer.fails = True
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            optimizer.step()
    assert p.calls == ["begin", "begin"]
    optimizer.fails = False
    optimizer.step()
    assert p.calls == ["begin"] * 3 + ["step"]


class Retrying(wrappers.Outer):
    """A wrapper that tries the inner step again after an error."""

    def step(self, closure=None):
        try:
            self.base_optimizer.step()
        except ArithmeticError:
            self.base_optimizer.fails = False
            self.base_optimizer.step()


def test_inner_step_that_failed_is_no_outer_one():
    p = Counting()
    inner = wrappers.Extended(p.parameters(), lr=0.1)
    inner.fails = True
    optimizer = Retrying(inner)
    attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_step_inside_the_closure_of_another_optimizer_counts():
    # Both are given by themselves, so neither wraps the other.
    p, q = Counting(), Counting()
    model = torch.nn.ModuleList([p, q])
    one, two = (torch.optim.SGD(x.parameters(), lr=0.1) for x in (p, q))
    attach(model, one, two)

    def closure():
        for _ in range(3):
            two.step()

    one.step(closure)
    assert p.calls == ["begin", "step"]
    assert q.calls == ["begin", "step"] * 3


class Failing(Counting):
    def _step(self):
        super()._step()
        raise ArithmeticError("a scheme that fails")


def test_step_of_the_other_schemes_goes_on_after_an_error():
    model = torch.nn.ModuleList([Failing(), build("svd_projection")])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    cost(model[1].matrix(), target_for(model[1])).backward()
    with pytest.raises(ArithmeticError, match="a scheme that fails"):
        optimizer.step()
    assert defect(model[1].matrix()) <= model[1].info.tolerance(4, F64)


# ------------------------------------------------------------------------------------ refusals


def test_attach_finds_no_optimizer():
    class Empty(torch.optim.Optimizer):
        def __init__(self):
            pass

    p = build("svd_projection")
    with pytest.raises(AttachError, match=r"Empty runs no step hooks.*\.optimizer"):
        attach(p, Empty())
    with pytest.raises(TypeError, match=r"not a torch\.optim\.Optimizer.*\.optimizer"):
        attach(p, wrappers.Several())


def test_attach_refuses_a_wrapper_and_its_base():
    p = build("svd_projection")
    base = sgd(p)
    with pytest.raises(AttachError, match="given twice"):
        attach(p, wrappers.Plain(base), base)


def test_attach_twice_is_refused_through_a_wrapper():
    p = build("svd_projection")
    base = sgd(p)
    attach(p, base)
    with pytest.raises(AttachError, match="attached to this SGD already"):
        attach(p, wrappers.Plain(base))


@pytest.mark.parametrize("wrap", [lambda o: o, wrappers.Plain, wrappers.Uninitialised])
@pytest.mark.parametrize("name", ["lie_exp", "svd_projection"])
def test_attach_refuses_schedule_free_averages(name, wrap):
    p = build(name)
    with pytest.raises(AttachError, match=rf"'{name}'.* exchanges the parameters .*expm"):
        attach(p, wrap(wrappers.ScheduleFree(p.parameters(), lr=0.1)))


@pytest.mark.parametrize(("name", "options"), [("expm", {}), ("dtriv", {"rebase_every": None})])
def test_schedule_free_optimizer_trains_what_never_rebases(name, options):
    p = build(name, **options)
    optimizer = wrappers.ScheduleFree(p.parameters(), lr=0.05)
    attach(p, optimizer)
    target, costs = target_for(p), []
    for _ in range(20):
        optimizer.zero_grad()
        cost(p.matrix(), target).backward()
        optimizer.step()
        optimizer.eval()
        costs.append(float(cost(p.matrix(), target).detach()))
        assert defect(p.matrix()) <= p.info.tolerance(4, F64)
        optimizer.train()
    assert costs[-1] < costs[0]


def test_step_refuses_an_optimizer_that_keeps_coordinates():
    p = build("lie_exp")
    optimizer = wrappers.ScheduleFreeWithClosure(p.parameters(), lr=0.1)
    attach(p, optimizer)
    cost(p.matrix(), target_for(p)).backward()
    with pytest.raises(AttachError, match=r"keeps coordinates of 'lie_exp'.*rebase_every=None"):
        optimizer.step()
    with torch.no_grad():  # the step has ended, so a change after it is one without a step
        p.theta.add_(0.1)
    with pytest.warns(MissedStepWarning):
        p.matrix()


# ---------------------------------------------------------------------------------- lookahead


def test_lookahead_that_runs_hooks_ends_on_the_group():
    p = build("svd_projection")
    optimizer = wrappers.Lookahead(sgd(p))
    attach(p, optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        cost(p.matrix(), target_for(p)).backward()
        optimizer.step()
        assert defect(p.matrix()) <= p.info.tolerance(4, F64)


def test_lookahead_without_hooks_is_noticed_until_retracted():
    p = build("svd_projection")
    optimizer = wrappers.PlainLookahead(sgd(p))
    attach(p, optimizer)
    for count in range(1, 5):
        p.zero_grad()
        cost(p.matrix(), target_for(p)).backward()
        optimizer.step()
        if count % optimizer.k == 0:
            with pytest.raises(NotProjectedError, match="retract_"):
                p.matrix()
            retract_(p)
        assert defect(p.matrix()) <= p.info.tolerance(4, F64)


@pytest.mark.parametrize("every", [1, 3])
def test_lookahead_is_refused_where_the_scheme_rebases(every):
    p = build("dtriv", rebase_every=every)
    optimizer = wrappers.Lookahead(sgd(p))
    attach(p, optimizer)
    cost(p.matrix(), target_for(p)).backward()
    optimizer.step()
    with pytest.raises(AttachError, match=r"Lookahead changes the coordinates of 'dtriv'"):
        optimizer.step()


def test_lookahead_trains_what_never_rebases():
    p = build("dtriv", rebase_every=None)
    optimizer = wrappers.Lookahead(sgd(p))
    attach(p, optimizer)
    found = train(p, optimizer, 4, target_for(p))
    q = build("dtriv", rebase_every=None)
    base = sgd(q)
    theta = torch.zeros_like(q.theta)
    for count in range(1, 5):  # the slow weights by hand
        base.zero_grad()
        cost(q.matrix(), target_for(q)).backward()
        base.step()
        if count % 2 == 0:
            theta = (theta + q.theta.detach()) / 2
            q.theta.data = theta.clone()
    torch.testing.assert_close(torch.from_numpy(found[-1]), q.matrix().detach())


# ---------------------------------------------------------------------------------------- SAM


@pytest.mark.parametrize("name", ["lie_exp", "svd_projection", "projunn_t", "expm"])
def test_sam_keeps_the_weight_on_the_group(name):
    p = build(name)
    optimizer = wrappers.SAM(sgd(p))
    attach(p, optimizer)
    target, costs = target_for(p), []

    def closure():
        optimizer.zero_grad()
        loss = cost(p.matrix(), target)
        loss.backward()
        return loss

    for _ in range(10):
        costs.append(float(closure().detach()))
        optimizer.step(closure)
        assert defect(p.matrix()) <= p.info.tolerance(4, F64)
    assert costs[-1] < costs[0]


# The first half changes the parameters without a step, of which an attached scheme may warn.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sam_by_its_two_halves_is_sam_by_its_step():
    found = []
    for halves in (False, True):
        p = build("lie_exp")
        optimizer = wrappers.SAM(sgd(p))
        attach(p, optimizer)
        for _ in range(3):

            def closure():
                optimizer.zero_grad()
                cost(p.matrix(), target_for(p)).backward()

            closure()
            if halves:
                optimizer.first_step()
                closure()
                optimizer.second_step()
            else:
                optimizer.step(closure)
        assert int(p.steps) == 3
        found.append(as_numpy(p.matrix()))
    assert (found[0] == found[1]).all()
