"""Schemes with one fault each, and the check that must find it."""

import itertools
from dataclasses import replace
from typing import ClassVar

import torch
from torch import nn

from unitary_zoo import Parametrization, linalg
from unitary_zoo.base import DenseMap, Group, LinearMap, NotRepresentableError

Cayley = Parametrization.get("cayley")
Expm = Parametrization.get("expm")
LieExp = Parametrization.get("lie_exp")
FullCapacity = Parametrization.get("full_capacity")
Projection = Parametrization.get("svd_projection")

FAULTS: list[tuple[str, type[Parametrization]]] = []


def fault(check):
    def enter(scheme):
        FAULTS.append((check, scheme))
        return scheme

    return enter


@fault("info")
class NoReason(Cayley):
    info = replace(Cayley.info, tolerance=replace(Cayley.info.tolerance, reason=" "))


@fault("info")
class WrongFamily(Cayley):
    info = replace(Cayley.info, family="rebased", retraction_order=2)


@fault("info")
class UnbalancedReference(Cayley):
    info = replace(Cayley.info, reference="@article{key, title = {half")


@fault("info")
class WrongGroup(Cayley):
    info = replace(
        Cayley.info, claims={"real": replace(Cayley.info.claims["real"], group=Group.UNITARY)}
    )


@fault("bad_arguments")
class SwallowsBadSize(Cayley):
    def __init__(self, n, **options):
        super().__init__(max(int(n), 1), **options)


@fault("bad_arguments")
class SilentAboutTheValue(Cayley):
    def __init__(self, n, **options):
        if isinstance(n, int) and n < 1:
            raise ValueError("bad size")
        super().__init__(n, **options)


@fault("bad_arguments")
class SwallowsUnknownOptions(Cayley):
    def __init__(self, n, field=None, dtype=None, **options):
        super().__init__(n, field=field, dtype=dtype)


@fault("matrix_form")
class AlwaysFloat64(Cayley):
    def matrix(self):
        return super().matrix().double()


@fault("real_parameters")
class ComplexParameter(Cayley):
    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.extra = nn.Parameter(torch.zeros(1, dtype=torch.complex64))


@fault("reproducible")
class IgnoresTheSeed(Cayley):
    counter = itertools.count()

    def _sample(self, init, generator):
        return super()._sample(init, torch.Generator().manual_seed(next(self.counter)))


@fault("reproducible")
class IgnoresTheGenerator(Cayley):
    def _sample(self, init, generator):
        return super()._sample(init, None)


@fault("reading_is_pure")
class ReadingDrawsNumbers(Cayley):
    def _prepare(self):
        torch.rand(())
        return super()._prepare()


@fault("reading_is_pure")
class ReadingRebases(LieExp):
    def _prepare(self):
        out = super()._prepare()
        self.steps += 1
        return out


@fault("serialises")
class StateOutsideTheStateDict(Cayley):
    def __init__(self, n, **options):
        self.turn = float(torch.rand(()))
        super().__init__(n, **options)

    def _prepare(self):
        w = super()._prepare().matrix()
        return DenseMap(w @ w if self.turn < 0.5 else w.mT @ w.mT)


@fault("low_precision")
class ComputesInHalf(LieExp):
    _unitary_buffers = ()


@fault("low_precision")
class LeavesAutocastOn(LieExp):
    def matrix(self):
        return self._prepare().matrix().to(self.dtype)


@fault("initializers")
class RefusesWithoutReason(Cayley):
    """Claims the whole group, so it holds the matrix of every initialiser."""

    def _initialize(self, init, generator):
        if init == "henaff":
            raise NotRepresentableError("cannot start from init='henaff'", 1.0)
        super()._initialize(init, generator)


@fault("initializers")
class HalvesTheAngles(Expm):
    def _assign(self, w):
        super()._assign(w)
        self.theta.mul_(0.5)


@fault("unitary")
class TooLong(Cayley):
    def matrix(self):
        return 1.01 * super().matrix()


@fault("unitary")
class TruncatedSeries(Cayley):
    def _prepare(self):
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        return DenseMap(
            2 * sum(torch.linalg.matrix_power(-a, k) for k in range(6)) - torch.eye(self.n)
        )


class _Transposed(DenseMap):
    def _multiply(self, h):
        return h @ self._w


@fault("apply")
class AppliesTheTranspose(Cayley):
    def _prepare(self):
        return _Transposed(super()._prepare().matrix())


@fault("apply")
class DetachedApply(Cayley):
    def forward(self, h):
        return h @ self.matrix().detach().mT


class _Unconjugated(DenseMap):
    def _multiply_adjoint(self, h):
        return h @ self._w


@fault("adjoint")
class ForgetsToConjugate(FullCapacity):
    def _prepare(self):
        return _Unconjugated(super()._prepare().matrix())


@fault("cost")
class ClaimsToBeCheap(Cayley):
    info = replace(
        Cayley.info,
        claims={"real": replace(Cayley.info.claims["real"], cost="O(n log n)")},
    )


@fault("determinant")
class WrongComponent(Cayley):
    def _prepare(self):
        w = super()._prepare().matrix().clone()
        return DenseMap(torch.cat([-w[:, :1], w[:, 1:]], dim=1))


@fault("determinant")
class IgnoresTheDeterminant(LieExp):
    def _initialize(self, init, generator):
        self.base.copy_(torch.eye(self.n))


@fault("determinant_option")
class IgnoresTheOption(LieExp):
    def _restrict(self, determinant):
        pass


@fault("determinant_option")
class CrossesOver(Projection):
    def _project(self, x):
        return linalg.newton_schulz_step(linalg.polar(x))


@fault("assign")
class AssignsTheInverse(Cayley):
    def _assign(self, w):
        super()._assign(w.mT)


@fault("assign")
class NeverRefuses(Cayley):
    def assign_(self, w, *, nearest=False):
        return super().assign_(w, nearest=True)


@fault("assign")
class RefusesTooLate(Cayley):
    def load_state_dict(self, *args, **kwargs):
        return None


@fault("describe")
class Boastful(Cayley):
    def describe(self):
        return replace(super().describe(), determinant=1.5)


@fault("gradient")
class StraightThrough(Expm):
    def _prepare(self):
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        w = linalg.expm_skew(a)
        return DenseMap(a + (w - a).detach())


@fault("finite_gradients")
class DifferentiatesTheSVD(Projection):
    def _project(self, x):
        u, _, vh = torch.linalg.svd(x)
        return u @ vh


@fault("gradient_reaches")
class CachedFirstRead(Cayley):
    def _prepare(self):
        if "cache" not in self.__dict__:
            self.__dict__["cache"] = super()._prepare()
        return self.__dict__["cache"]


@fault("gradient_reaches")
class IdleParameter(Cayley):
    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.idle = nn.Parameter(torch.zeros(1, dtype=self.theta.dtype))


@fault("dimension")
class ClaimsTooMuch(Parametrization.get("arjovsky")):
    info = replace(
        Parametrization.get("arjovsky").info,
        claims={
            "complex": replace(
                Parametrization.get("arjovsky").info.claims["complex"],
                dimension=lambda n: min(7 * n, n * n),
            )
        },
    )


@fault("training")
class Ascends(Cayley):
    def _prepare(self):
        w = super()._prepare().matrix()
        if w.requires_grad:
            w.register_hook(torch.neg)
        return DenseMap(w)


@fault("training")
class NeverProjects(Projection):
    def _step(self):
        self._assign(self._stored_matrix())


@fault("weight_decay")
class SignsAsParameters(Cayley):
    """What torch's householder does: signs kept as parameters and truncated to integers."""

    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.signs = nn.Parameter(torch.ones(n, dtype=self.theta.dtype))

    def _prepare(self):
        return DenseMap(super()._prepare().matrix() * self.signs.int() + 0 * self.signs)


@fault("step_moves")
class Frozen(LieExp):
    def _step(self):
        self.theta.zero_()


@fault("step_moves")
class DriftsAtRest(LieExp):
    def _step(self):
        self.theta.add_(0.01)
        super()._step()


@fault("retraction")
class TwiceTooFast(FullCapacity):
    @staticmethod
    def _map(a):
        return linalg.cayley(-a)


@fault("retraction")
class ClaimsTheGeodesic(FullCapacity):
    info = replace(FullCapacity.info, retraction_order=float("inf"))


@fault("retraction")
class QRInsteadOfPolar(Projection):
    """A retraction of order 1 under the claim of order 2."""

    def _project(self, x):
        q, r = torch.linalg.qr(x)
        return q * r.diagonal().sgn()


@fault("one_step")
class StepsByACommonClock(LieExp):
    """All instances share the count that decides what a step does."""

    clock = itertools.count()

    def _step(self):
        if next(self.clock) % 3:
            super()._step()


@fault("one_step")
class RemembersByIdentity(LieExp):
    """A copy of an instance begins to count anew."""

    counts: ClassVar[dict[int, int]] = {}

    def _step(self):
        self.counts[id(self)] = self.counts.get(id(self), 0) + 1
        if self.counts[id(self)] % 3:
            super()._step()


@fault("rebase")
class LosesTheStep(LieExp):
    def _step(self):
        self.theta.zero_()


@fault("rebase")
class BaseDrifts(LieExp):
    def _prepare(self):
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        return DenseMap(self._map(a) @ linalg.from_real_parts(self.base, self.field))

    def _step(self):
        self.base.copy_(linalg.view_as_real_parts(self.prepare().matrix()) * (1 + 1e-6))
        self.theta.zero_()


@fault("stale_weight")
class ReadsWhatIsStored(Projection):
    def _prepare(self):
        return DenseMap(self._stored_matrix())


class _Leaking(DenseMap):
    def _multiply(self, h):
        return 0.999 * h @ self._w.mT


@fault("norm")
class Leaks(Cayley):
    def _prepare(self):
        return _Leaking(super()._prepare().matrix())


class _Shifted(LinearMap):
    """A structured map with a constant added to its image."""

    def __init__(self, w):
        self._w, self.n, self.dtype, self.device = w, w.shape[-1], w.dtype, w.device

    def matrix(self):
        return self._w.roll(1, 0)

    def _multiply(self, h):
        return h @ self._w.mT

    def _multiply_adjoint(self, h):
        return h @ self._w.conj()


@fault("scan")
class MapIsAnotherMatrix(Cayley):
    def prepare(self):
        return _Shifted(super()._prepare().matrix())


@fault("transforms")
class ReadsANumber(Cayley):
    def _prepare(self):
        return DenseMap(super()._prepare().matrix() * (1 + 0 * self.theta.sum().item()))


@fault("compiled")
class ChoosesByANumber(Cayley):
    def _prepare(self):
        w = super()._prepare().matrix()
        return DenseMap(w if self.theta.sum() > 0 else w + 0)


@fault("meta")
class LooksAtTheData(Cayley):
    def _prepare(self):
        if not torch.equal(self.theta, self.theta):
            raise ValueError("theta is not a number")
        return super()._prepare()


class _ConstantAdjoint(torch.autograd.Function):
    """The product A A, whose backward pass takes A for a constant."""

    @staticmethod
    def forward(ctx, a):
        ctx.a = a.detach()
        return a @ a

    @staticmethod
    def backward(ctx, grad):
        return grad @ ctx.a.mH + ctx.a.mH @ grad


@fault("second_derivatives")
class ConstantAdjoint(Expm):
    """The polynomial 1 + A + A^2 / 2 in place of exp(A), with right first derivatives only."""

    def _prepare(self):
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        product = _ConstantAdjoint.apply(a)
        return DenseMap(torch.eye(self.n, dtype=a.dtype) + a + product / 2)


@fault("average")
class CopiedBase(LieExp):
    """Its base is a buffer, which an average of a model copies."""

    def __init__(self, n, **options):
        super().__init__(n, **options)
        base = self.base.detach()
        del self.base
        self._frozen = ()
        self.register_buffer("base", base)


@fault("average")
class RetractsToTheBase(Parametrization.get("projunn_d")):
    """A retraction that forgets what is stored."""

    def _retract(self):
        self._store(self._base_matrix())


@fault("not_finite")
class LooksAway(Projection):
    _guarded = False


@fault("not_finite")
class ReplacesNaN(Cayley):
    def _prepare(self):
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        return DenseMap(linalg.cayley(a.nan_to_num()))


@fault("autocast_steps")
class StepsInAutocast(Projection):
    """A public hook of its own, without what surrounds it."""

    @torch.no_grad()
    def step_(self):
        self._stepping = False
        self._store(self._stepped())


@fault("missed_steps")
class NeverWarns(LieExp):
    def warn_of_a_missed_step(self):
        pass


@fault("missed_steps")
class CriesWolf(LieExp):
    """Loading a state counts as a missed step."""

    def _after_loading(self, state, prefix, errors):
        pass


@fault("foreign_dtypes")
class BecomesComplex(Cayley):
    def _convert(self, convert, convert_tensors):
        convert_tensors(convert)


@fault("foreign_dtypes")
class ReadsComplexStates(Cayley):
    def _before_loading(self, state, prefix, errors):
        pass


@fault("foreign_dtypes")
class CountsInFloatingPoint(LieExp):
    def _convert(self, convert, convert_tensors):
        super()._convert(convert, lambda _: convert_tensors(convert))


@fault("lower_precision_state")
class KeepsTheRounding(Projection):
    def _regain_precision(self, state, prefix):
        pass


@fault("lower_precision_state")
class TakesABaseInHalf(LieExp):
    def _after_loading(self, state, prefix, errors):
        pass


@fault("half_precision_step")
class StepsFromABaseInHalf(Parametrization.get("landing")):
    _wide_buffers = ()


@fault("describe_not_finite")
class EigenvaluesOfAnything(Cayley):
    def describe(self):
        phases = torch.linalg.eigvals(self.matrix().detach()).angle()
        return replace(super().describe(), eigenphases=phases)


@fault("describe_not_finite")
class NeverSaysNaN(Cayley):
    def describe(self):
        return replace(super().describe(), defect=0.0)


@fault("nearest")
class CannotTakeADeterminant(Expm):
    """Passes the error of a logarithm on."""

    def _nearest(self, w):
        return self._in_own_field(w)

    def _assign_or_restore(self, target, assign, read, nearest):
        assign(linalg.double(target))
        return super()._assign_or_restore(target, assign, read, nearest)


@fault("nearest")
class KeepsWhatItRefused(Cayley):
    def load_state_dict(self, state, *args, **options):
        if not self._started:
            super().load_state_dict(state, *args, **options)


@fault("state_memory")
class StoresByColumns(Projection):
    def _store(self, w):
        self.weight.data = w.mT.contiguous().mT


@fault("state_memory")
class TakesTheStateAsItIs(Cayley):
    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.register_buffer("order", torch.eye(n).mT.contiguous().mT)
        self.register_buffer("other", self.order.view(-1))


class _ChecksItsGradient(torch.autograd.Function):
    """The identity, whose backward pass reads numbers of one gradient."""

    @staticmethod
    def forward(ctx, w):
        return w.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.clone() if grad.abs().sum().item() > 0 else grad


@fault("batched_gradients")
class ReadsTheGradient(Cayley):
    def _prepare(self):
        return DenseMap(_ChecksItsGradient.apply(super()._prepare().matrix()))
