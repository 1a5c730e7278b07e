import pytest
import torch
from torch import nn
from torch.nn import functional as F

from comparisons.models import BASELINES
from comparisons.tasks import Batch, Generated
from comparisons.testing import CheckError, check_builder, check_task


class Sign(Generated):
    """The sign of the first number."""

    name = "sign"
    loss_name = accuracy_name = "x"
    per_step = False
    input_size = 1
    output_size = 2

    def batch(self, size, generator):
        x = torch.randn(self.length, size, 1, generator=generator)
        return x, (x[0, :, 0] > 0).long()

    def loss(self, outputs, targets):
        return F.cross_entropy(outputs, targets)

    def accuracy(self, outputs, targets):
        return (outputs.argmax(-1) == targets).float().mean()


def test_check_task_accepts_a_task_of_the_defaults():
    check_task(Sign)
    assert Sign.title == "Sign"
    assert Sign(10).baseline == pytest.approx(0.693, abs=0.005)  # ln 2


class Features(Sign):
    input_size = 3


class Unseeded(Sign):
    def batch(self, size, generator):
        return super().batch(size, None)


class Constant(Sign):
    def batch(self, size, generator):
        return super().batch(size, torch.Generator().manual_seed(0))


class Sum(Sign):
    def loss(self, outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="sum")


class Detached(Sign):
    def loss(self, outputs, targets):
        return super().loss(outputs, targets) * 0


class TooSmall(Sign):
    @property
    def baseline(self):
        return 0.5


class Memoryless(Sign):
    @property
    def memoryless(self):
        return 0.8


class Undefined(Sign):
    def metric(self, loss, accuracy):
        return float("nan")


class Continuing(Sign):
    def train_batches(self, size, generator):
        while True:
            yield Batch(*self.batch(size, generator), continues=True)


class Raising(Sign):
    def accuracy(self, outputs, targets):
        raise KeyError("no\nkey")


@pytest.mark.parametrize(
    ("task", "check", "words"),
    [
        (Features, "shapes", "(steps, 6, 3)"),
        (Unseeded, "seeds", "draw all numbers from the generator"),
        (Unseeded, "test_set", "another one the second time"),
        (Constant, "seeds", "in a row are equal"),
        (Sum, "loss_is_a_mean", "mean over the targets"),
        (Detached, "gradient", "zero"),
        (TooSmall, "baselines", "is 0.5, but the best constant answer has a loss of 0.69"),
        (Memoryless, "baselines", "above the constant one"),
        (Undefined, "metric", "nan"),
        (Continuing, "continued_batches", "no state is there yet"),
        (Raising, "loss_is_a_mean", "KeyError"),
    ],
)
def test_check_task_names_the_fault(task, check, words):
    with pytest.raises(CheckError) as caught:
        check_task(task)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{task.__name__} fails {len(lines)} of 8 checks:"
    assert any(line.startswith(f"  {check}: ") and words in line for line in lines)


class Wrapped(nn.Module):
    """A GRU with a fault."""

    def __init__(self, fault, input_size, settings):
        super().__init__()
        self.fault = fault
        self.gru = nn.GRU(input_size, settings.hidden_size)
        if fault == "unused":
            self.unused = nn.Parameter(torch.zeros(2))
        if fault == "buffer":
            self.scale = torch.rand(())

    def forward(self, x, state=None):
        if self.fault == "no state":
            state = None
        if self.fault == "future":
            x = x + x.mean(0)
        if self.fault == "batch":
            x = x - x.mean(1, keepdim=True)
        output, last = self.gru(x, state)
        if self.fault == "width":
            return output[..., 1:], last
        if self.fault == "buffer":
            return output * self.scale, last * self.scale
        return (output, last[0]) if self.fault == "last state" else (output, last)


def unseeded(input_size, settings):
    gru = nn.GRU(input_size, settings.hidden_size)
    with torch.no_grad():
        gru.weight_hh_l0.normal_(generator=torch.Generator().manual_seed(next(counter)))
    return gru


counter = iter(range(10**6))


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        ("unused", "gradient", "no gradient reaches unused"),
        ("no state", "state", "in two parts"),
        ("future", "state", "later inputs"),
        ("batch", "independent_sequences", "others of its batch"),
        ("width", "shapes", "expected (7, 6, 8)"),
        ("last state", "shapes", "(layers, size, n)"),
        ("buffer", "copies", "state_dict"),
        (unseeded, "seed", "torch's generator"),
        (lambda *_: None, "shapes", "AttributeError"),
    ],
)
def test_check_builder_names_the_fault(fault, check, words):
    builder = fault if callable(fault) else lambda *sizes: Wrapped(fault, *sizes)
    with pytest.raises(CheckError) as caught:
        check_builder(builder, "mine")
    head, *lines = str(caught.value).splitlines()
    assert head == f"mine fails {len(lines)} of 6 checks:"
    assert any(line.startswith(f"  {check}: ") and words in line for line in lines)


@pytest.mark.parametrize("name", BASELINES.names())
def test_check_builder_accepts_every_baseline(name):
    check_builder(BASELINES.get(name), name)
