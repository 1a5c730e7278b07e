"""Ways to make a weight orthogonal that have one fault each, and the checks that must find it."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from tests.testing.faults import CopiedBase
from unitary_zoo import Parametrization
from unitary_zoo.base import DenseMap
from unitary_zoo.testing.layers import LayerSubject, SchemeLayers
from unitary_zoo.testing.layers.subject import SQUARE, TALL

Cayley = Parametrization.get("cayley")

FAULTS: list[tuple[str, LayerSubject, str]] = []
"""The name of a check, a subject with a fault, and the shape on which it must be found."""


def fault(*checks, shape=SQUARE, scheme=Cayley):
    """Return a decorator that enters a subject for the checks that must find its fault."""

    def enter(cls):
        options = {"scheme": scheme} if issubclass(cls, SchemeLayers) else {}
        FAULTS.extend((check, cls(cls.__name__, **options), shape) for check in checks)
        return cls

    return enter


@fault("adamw_step", "gates_of_lstm", "complex_weight", "bfloat16_layer")
@dataclass(frozen=True)
class Plain(LayerSubject):
    """A layer as it is, said to be orthogonal."""

    def make_orthogonal(self, module, name="weight", *, blocks=1):
        return module


@fault(
    "adamw_step", "sgd_weight_decay", "muon_weight_decay", "moving_average", "autocast",
    "bfloat16", "float16", "bfloat16_and_back", "copied", "pickled", "saved", "state_dict",
    "kernels",
)  # fmt: skip
@dataclass(frozen=True)
class Once(LayerSubject):
    """A weight that is orthogonal at the start only."""

    def make_orthogonal(self, module, name="weight", *, blocks=1):
        nn.init.orthogonal_(module.get_parameter(name))
        return module


@fault("forgotten_hook", "small_steps_in_bfloat16")
@dataclass(frozen=True)
class OnceByAScheme(SchemeLayers):
    """A weight that is orthogonal at the start only, said to have a scheme."""

    def make_orthogonal(self, module, name="weight", *, blocks=1, **options):
        nn.init.orthogonal_(module.get_parameter(name))
        return module


@fault(
    "cached_step", "cached_fused_step", "cached_no_grad", "cached_two_backwards",
    "cached_assignment", "copy_made_plain", "plain_checkpoint", "meta_device", "ensemble",
    "pickled", "saved", "autocast", "gates_of_lstm", "written_in_place", "functional_call",
    "parameter_assigned",
)  # fmt: skip
@fault("thin_embedding", shape=TALL)
@dataclass(frozen=True)
class ByTorch(LayerSubject):
    """torch's parametrization, which has these faults."""

    def make_orthogonal(self, module, name="weight", *, blocks=1):
        return parametrizations.orthogonal(module, name, "cayley")


class _Each(nn.Module):
    """A scheme in a module of its own for each kernel."""

    def __init__(self, weight, scheme):
        super().__init__()
        self.shape = weight.shape
        self.schemes = nn.ModuleList(
            scheme(weight.shape[-1], dtype=torch.float32) for _ in range(weight[..., 0, 0].numel())
        )

    def forward(self):
        return torch.stack([scheme.matrix() for scheme in self.schemes]).reshape(self.shape)

    def right_inverse(self, x):
        return ()


@fault("kernels")
@dataclass(frozen=True)
class ModuleForEachKernel(SchemeLayers):
    """A convolution with a module for each kernel."""

    def make_orthogonal(self, module, name="weight", *, blocks=1, **options):
        weight = _Each(getattr(module, name), self.scheme)
        parametrize.register_parametrization(module, name, weight)
        return module


@fault("frozen")
@dataclass(frozen=True)
class Thawed(SchemeLayers):
    """A frozen weight whose scheme learns."""

    def make_orthogonal(self, module, name="weight", *, blocks=1, **options):
        module = super().make_orthogonal(module, name, blocks=blocks)
        module.parametrizations.requires_grad_(True)
        return module


class EverySecondStep(Parametrization.get("dtriv")):
    """It rebases at every second step, so that a step too many shows in W."""

    def __init__(self, n, *, rebase_every=2, **options):
        super().__init__(n, rebase_every=rebase_every, **options)


@fault("stepped_once", "copied_with_optimizer", scheme=EverySecondStep)
@dataclass(frozen=True)
class AttachedByAHook(SchemeLayers):
    """A hook of the optimizer takes the step: twice in a subclass, and never in a copy."""

    def attach(self, module, optimizer):
        inner = getattr(optimizer, "optimizer", optimizer)
        inner.register_step_post_hook(lambda *_: [p.step_() for p in schemes_in(module)])


def schemes_in(module):
    return [m for m in module.modules() if isinstance(m, Parametrization)]


@fault("average_is_the_mean", scheme=CopiedBase)
@dataclass(frozen=True)
class AveragesNothing(SchemeLayers):
    """A scheme that keeps its weight in a buffer."""


class PoisonedCayley(Cayley):
    """Its gradient is NaN."""

    def _prepare(self):
        zeros = [(p - p.detach()).abs().sqrt().sum() for p in self.parameters()]
        return DenseMap(super()._prepare().matrix() + sum(zeros))


@fault(
    "gradient_at_orthogonal", "gradient_at_identity", "gradient_at_minus_one", "modrelu_at_zero",
    scheme=PoisonedCayley,
)  # fmt: skip
@dataclass(frozen=True)
class Poisoned(SchemeLayers):
    """A scheme whose gradient is NaN."""


@fault("one_small_matrix", scheme=Parametrization.get("torch_orthogonal"))
@dataclass(frozen=True)
class ByMatrixExp(SchemeLayers):
    """``torch.matrix_exp`` of a single small matrix."""


@fault("determinant_chosen")
@dataclass(frozen=True)
class IgnoresTheDeterminant(SchemeLayers):
    """The option that chooses the determinant has no effect."""

    def make_orthogonal_with_determinant(self, module, determinant):
        return self.make_orthogonal(module)


class _OnTop(nn.Module):
    """A parametrization that returns its argument both ways."""

    def forward(self, x):
        return x

    def right_inverse(self, x):
        return x


@dataclass(frozen=True)
class _WithAnother(SchemeLayers):
    """A second parametrization on top of the scheme."""

    top = _OnTop

    def make_orthogonal(self, module, name="weight", *, blocks=1, **options):
        module = super().make_orthogonal(module, name, blocks=blocks)
        parametrize.register_parametrization(module, name, self.top())
        return module


@fault("assigned_off_the_group")
@dataclass(frozen=True)
class TakesAll(LayerSubject):
    """Every value assigned is the weight."""

    def make_orthogonal(self, module, name="weight", *, blocks=1):
        nn.init.orthogonal_(module.get_parameter(name))
        parametrize.register_parametrization(module, name, _OnTop())
        return module


@fault("made_plain", "plain_export")
class Noisy(_WithAnother):
    """Every read gives another weight."""

    class top(_OnTop):
        def forward(self, x):
            return x + 1e-3 * torch.randn_like(x)


@fault("assigned", "cached_assignment", "determinant_assigned")
class IgnoresAssignment(_WithAnother):
    """A value that is assigned has no effect."""

    class top(_OnTop):
        def forward(self, x):
            self.last = x.detach()
            return x

        def right_inverse(self, x):
            return self.last


@fault("compiled", "exported")
class Branches(_WithAnother):
    """The computation depends on the values."""

    class top(_OnTop):
        def forward(self, x):
            return x if float(x.detach().sum()) < 1e9 else -x


@fault("lstm_forward", "gru_forward")
@dataclass(frozen=True)
class ForwardOfAnother(SchemeLayers):
    """The forward pass uses the weights of a copy."""

    def make_orthogonal(self, module, name="weight", *, blocks=1, **options):
        module = super().make_orthogonal(module, name, blocks=blocks)
        module.forward = copy.deepcopy(module).forward
        return module


class _PreparesAnother(Cayley):
    """The layer computes with another matrix than it shows."""

    def _prepare(self):
        return DenseMap(super()._prepare().matrix() + 1e-3 * torch.randn(self.n, self.n))


class _TakesNothing(Cayley):
    """A matrix that is assigned has no effect."""

    def _assign(self, w):
        pass


class _SaysNothing(_TakesNothing):
    """Neither has it an effect, nor does the residual say so."""

    def assign_(self, w, *, nearest=False):
        return 0.0 * super().assign_(w, nearest=True)


@fault("torch_exchange", scheme=_PreparesAnother)
@fault("torch_exchange", scheme=_TakesNothing)
@fault("torch_exchange", scheme=_SaysNothing)
@dataclass(frozen=True)
class Exchanges(SchemeLayers):
    """A recurrent layer whose scheme cannot be exchanged with torch."""
