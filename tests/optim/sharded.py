"""What each of two processes finds when models are sharded; ``test_sharded.py`` looks at it.

One start of the processes serves all tests, because it takes seconds.
"""

import copy
import math
import warnings

import torch
import torch.distributed as dist
from torch import nn

from tests.schemes.descent import build
from unitary_zoo import Parametrization, UnitaryRNN, attach, orthogonal, retract_
from unitary_zoo.linalg import unitarity_defect

STEPS = 4

# Each family, at sizes at which a process has no rows (n = 1) or fewer than the other.
FAMILIES = [
    ("lie_exp", {}),
    ("dtriv", {"rebase_every": 3}),
    ("full_capacity", {}),
    ("svd_projection", {}),
    ("svd_projection", {"field": "complex"}),
    ("projunn_d", {}),
    ("projunn_t", {}),
    ("landing", {}),
    ("polar_newton_schulz", {}),
    ("expm", {}),
]
OTHERS = [x for x in Parametrization.names() if all(x != name for name, _ in FAMILIES)]
CASES = [(name, n, options) for name, options in FAMILIES for n in (1, 3, 5)]
CASES += [(name, 4, {}) for name in OTHERS]

LAYERS = [
    *((name, "real") for name in ("cayley", "lie_exp", "svd_projection", "householder", "qr")),
    *((name, "real") for name in ("dtriv", "projunn_t", "polar_newton_schulz")),
    ("full_capacity", "complex"),
    ("arjovsky", "complex"),
]


def learns(name, n, options):
    """Whether each parameter has entries; torch cannot shard an empty one."""
    return all(p.numel() for p in build(name, n, **options).parameters())


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


def batches(n, dtype):
    generator = torch.Generator().manual_seed(3)
    shape = (2, 2, 4, n)  # inputs and targets, of each process
    return torch.randn(shape, dtype=dtype, generator=generator)


def loss_of(model, batch):
    x, y = batch
    return (model(x) - y).abs().square().sum()


def train_alone(model, data):
    optimizer = optimizer_of(model)
    attach(model, optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (sum(loss_of(model, data[:, i]) for i in range(2)) / 2).backward()
        optimizer.step()


def train_spread(model, data, rank):
    optimizer = optimizer_of(model)
    attach(model, optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, data[:, rank]).backward()
        with torch.no_grad():
            model(data[0, rank])  # leaves the parameters whole, which are not the optimizer's
        optimizer.step()


def distance(a, b):
    return float((a - b).detach().abs().max())


def outcome(f):
    """The result of ``f()``, or its error as text."""
    try:
        return f()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def trained(shard, case, rank):
    """How far a sharded model is from one trained alone, by each way to read its weight."""
    name, n, options = case
    p = build(name, n, **options)
    start = p.matrix().detach()
    alone, spread = nn.Sequential(p), nn.Sequential(copy.deepcopy(p))
    shard(spread)
    data = batches(n, p.dtype)
    train_alone(alone, data)
    train_spread(spread, data, rank)
    q = spread[0]
    return {
        "is sharded": all(hasattr(x, "full_tensor") for x in q.parameters()),
        "moved": distance(start, p.matrix()),
        "forward": distance(spread(data[0, 0]), alone(data[0, 0])),
        "matrix": distance(q.matrix(), p.matrix()),
        "describe": abs(q.describe().defect - p.describe().defect),
        "steps": int(getattr(q, "steps", 0)) - int(getattr(p, "steps", 0)),
    }


def layer_read(shard, name):
    """A sharded layer, read, differentiated, assigned, saved and loaded outside its forward."""
    torch.manual_seed(0)
    layer = orthogonal(nn.Linear(5, 3, bias=False), "weight", name)
    alone, spread = copy.deepcopy(layer), nn.Sequential(layer)
    shard(spread)
    value = torch.linalg.qr(torch.randn(5, 3, generator=torch.Generator().manual_seed(5))).Q.mT
    found = {"weight": distance(layer.weight, alone.weight)}
    for x in (alone, layer):
        (x.weight * torch.arange(15.0).view(3, 5)).sum().backward()
    pairs = zip(alone.parameters(), layer.parameters(), strict=True)
    found["gradient"] = max(
        distance(a.grad, b.grad.full_tensor()) for a, b in pairs if a.grad is not None
    )
    spread.load_state_dict(copy.deepcopy(spread.state_dict()))
    found["state"] = distance(layer.weight, alone.weight)
    layer.weight = value
    found["assigned"] = distance(layer.weight, value)
    (scheme,) = (m for m in layer.modules() if isinstance(m, Parametrization))
    found["reset"] = outcome(scheme.reset_parameters)
    scheme.reset_parameters("haar", generator=torch.Generator().manual_seed(1))
    found["started"] = float(unitarity_defect(scheme.matrix().detach()))
    with torch.no_grad():
        for p in layer.parameters():
            if p.requires_grad:
                p.add_(0.01)
    retract_(spread)
    found["retracted"] = float(unitarity_defect(scheme.matrix().detach()))
    return found


def recurrent(shard, rank):
    """A sharded recurrent layer with several schemes, and one that is not sharded."""
    torch.manual_seed(0)
    alone = UnitaryRNN(2, 5, num_layers=2, scheme="lie_exp").double()
    spread = copy.deepcopy(alone)
    shard(spread)
    x = torch.randn(2, 6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for model, parts in ((alone, (0, 1)), (spread, (rank,))):
        optimizer = optimizer_of(model)
        attach(model, optimizer)
        for _ in range(STEPS):
            optimizer.zero_grad()
            (sum(model(x[i])[0].square().sum() for i in parts) / len(parts)).backward()
            optimizer.step()
    return distance(spread(x[0])[0], alone(x[0])[0])


def refused(shard, name, rank):
    """The error of a step in which one process alone has an entry that is not a number."""
    p = build(name, 5)
    model = nn.Sequential(p)
    shard(model)
    optimizer = optimizer_of(model)
    attach(model, optimizer)
    loss_of(model, batches(5, p.dtype)[:, rank]).backward()
    if rank == 1:
        next(p.parameters()).grad.to_local().fill_(math.nan)

    def step():
        optimizer.step()
        return p.matrix()

    return isinstance(outcome(step), str)


def in_parallel(name, rank):
    """The control: DistributedDataParallel, whose parameters are whole."""
    p = build(name, 5)
    alone, model = nn.Sequential(p), nn.Sequential(copy.deepcopy(p))
    data = batches(5, p.dtype)
    train_alone(alone, data)
    train_spread(nn.parallel.DistributedDataParallel(model), data, rank)
    return distance(model[0].matrix(), p.matrix())


def layer_in_parallel(name, field, rank):
    """A layer whose start DistributedDataParallel replaces by that of the first process."""
    torch.manual_seed(rank)
    dtype = torch.complex64 if field == "complex" else torch.float32
    layer = orthogonal(nn.Linear(4, 6, dtype=dtype), "weight", name)
    model = nn.parallel.DistributedDataParallel(layer)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)
    attach(model, optimizer)
    first = layer.weight.detach().clone()
    for step in range(10):
        source = torch.Generator().manual_seed(2 * step + rank)
        x = torch.randn(3, 4, dtype=dtype, generator=source)
        optimizer.zero_grad()
        model(x).abs().pow(3).sum().backward()
        optimizer.step()
    w = layer.weight.detach()
    real = (torch.view_as_real(w.resolve_conj()) if w.is_complex() else w).contiguous()
    both = [torch.empty_like(real) for _ in range(2)]
    dist.all_gather(both, real)
    return {
        "equal": torch.equal(*both),
        "defect": distance(w.mH @ w, torch.eye(4)),
        "moved": distance(w, first),
    }


def flattened(name):
    """attach to the older FullyShardedDataParallel, which flattens parameters."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    model = FullyShardedDataParallel(
        nn.Sequential(build(name), nn.Linear(4, 4).double()), device_id=torch.device("cpu")
    )
    return outcome(lambda: type(attach(model, optimizer_of(model))).__name__)


def work(rank, folder):
    """What a process does: find out everything, and write it to a file."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    warnings.simplefilter("ignore")  # torch warns of views as outputs
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))

    def shard(model):
        fully_shard(model, mesh=mesh)

    found = {
        "trained": {
            str(case): outcome(lambda: trained(shard, case, rank))
            for case in CASES
            if learns(*case)
        },
        "read": {
            name: outcome(lambda: layer_read(shard, name))
            for name in ("expm", "lie_exp", "svd_projection", "projunn_t", "landing")
        },
        "recurrent": outcome(lambda: recurrent(shard, rank)),
        "refused": {n: refused(shard, n, rank) for n in ("svd_projection", "lie_exp", "projunn_t")},
        "parallel": {
            n: outcome(lambda: in_parallel(n, rank)) for n in ("lie_exp", "svd_projection")
        },
        "layers": {
            f"{name}, {field}": layer_in_parallel(name, field, rank) for name, field in LAYERS
        },
        "flattened": {n: flattened(n) for n in ("expm", "svd_projection")},
    }
    torch.save(found, f"{folder}/found{rank}")
    dist.destroy_process_group()
