"""Optimizers that wrap another one, or extend one, in the ways in which public packages do."""

import torch
from torch.optim import SGD, Optimizer


def has_gradient(p):
    return p.grad is not None


class Plain:
    """No optimizer of torch; the base at ``.optimizer``."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        return self.optimizer.step()


class Uninitialised(Optimizer):
    """As accelerate's: an Optimizer whose constructor does not call that of Optimizer."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state

    @property
    def defaults(self):
        return self.optimizer.defaults

    def train(self):
        return self.optimizer.train() if hasattr(self.optimizer, "train") else None

    def eval(self):
        return self.optimizer.eval() if hasattr(self.optimizer, "eval") else None

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Several:
    """The optimizers in a list."""

    def __init__(self, *optimizers):
        self.optimizers = list(optimizers)

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


class Outer(Optimizer):
    """An optimizer of torch whose step calls that of another one."""

    def __init__(self, optimizer):
        self.base_optimizer = optimizer
        super().__init__(optimizer.param_groups, {})
        self.param_groups = optimizer.param_groups

    def step(self, closure=None):
        return self.base_optimizer.step(closure)


class Extended(SGD):
    """A subclass that calls the step of its base class."""

    fails = False

    def step(self, closure=None):
        loss = super().step(closure)
        if self.fails:
            raise ArithmeticError("a step that fails")
        return loss


class TwiceExtended(Extended):
    def step(self, closure=None):
        return super().step(closure)


class SAM(Outer):
    """Sharpness-aware minimisation: the gradient at a point uphill."""

    rho = 0.05

    @torch.no_grad()
    def first_step(self):
        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([g.norm() for g in grads]).norm()
        for group in self.param_groups:
            for p in filter(has_gradient, group["params"]):
                self.state[p]["old"] = p.detach().clone()
                p.add_(p.grad, alpha=self.rho / float(norm))

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if "old" in self.state[p]:
                    p.copy_(self.state[p]["old"])
        self.base_optimizer.step()

    def step(self, closure=None):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


class _SlowWeights:
    """Every ``k`` steps, half of the way back to the slow weights."""

    k = 2

    def start(self, optimizer):
        self.count = 0
        self.slow = {p: p.detach().clone() for g in optimizer.param_groups for p in g["params"]}

    @torch.no_grad()
    def synchronise(self):
        self.count += 1
        if self.count % self.k == 0:
            for p, slow in self.slow.items():
                slow.add_(p - slow, alpha=0.5)
                p.copy_(slow)


class Lookahead(Outer, _SlowWeights):
    """An optimizer of torch that changes the parameters after the inner step."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.start(optimizer)

    def step(self, closure=None):
        super().step(closure)
        self.synchronise()


class PlainLookahead(Plain, _SlowWeights):
    """The same, without hooks of its own."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.start(optimizer)

    def step(self):
        super().step()
        self.synchronise()


class ScheduleFree(Optimizer):
    """Schedule-free gradient descent: y = (1 - b) z + b x, where x is the average of z."""

    def __init__(self, parameters, lr, b=0.9):
        super().__init__(parameters, {"lr": lr, "b": b, "train_mode": True, "count": 0})

    def _exchange(self, weight):
        for group in self.param_groups:
            for p in group["params"]:
                if "z" in self.state[p]:
                    p.data.lerp_(self.state[p]["z"], weight(group["b"]))

    def eval(self):
        self._exchange(lambda b: 1 - 1 / b)

    def train(self):
        self._exchange(lambda b: 1 - b)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
            c = 1 / group["count"]
            for p in filter(has_gradient, group["params"]):
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, c)
                p.add_(p.grad, alpha=group["lr"] * (group["b"] * (1 - c) - 1))
                z.sub_(p.grad, alpha=group["lr"])


class ScheduleFreeWithClosure(Optimizer):
    """The average outside the step; nothing to exchange by hand, but z in the state."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in filter(has_gradient, group["params"]):
                z = self.state[p].setdefault("z", p.clone())
                z.sub_(p.grad, alpha=group["lr"])
                p.lerp_(z, 0.5)
