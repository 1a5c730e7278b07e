"""Private names of torch are used in ``unitary_zoo/_torch/`` and nowhere else.

The tests have such a file of their own, ``tests/torch_internals.py``.
"""

import ast
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
ALLOWED = {
    *(ROOT / "unitary_zoo" / "_torch").glob("*.py"),
    ROOT / "tests" / "torch_internals.py",
    Path(__file__),
}


def is_private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_attributes():
    """Private attributes of torch's classes and their instances, whatever object they are read of.

    The source does not say which class an object has. So these are the names of the classes that
    are subclassed or inspected.
    """
    parameter = nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter])
    objects = [
        nn.Module(), nn.LSTM(1, 1), nn.ParameterList(), parameter, torch.zeros(1), sgd,
        torch.optim.lr_scheduler.LambdaLR(sgd, float), torch.autograd.Function, torch.Generator(),
    ]  # fmt: skip
    names = {name for x in objects for name in dir(x)}
    common = {"_size", "_values", "_indices"}  # other classes than torch's have these, too
    return {name for name in names if is_private(name)} - common


PRIVATE = private_attributes()


def dotted(node):
    """The names of ``a.b.c`` as a list, or None for what is no chain of plain names."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def private_names(source):
    """Line and text of each private name of torch in a Python source."""
    tree = ast.parse(source)
    of_torch = set()  # local names of torch, its modules, and what was imported from them
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    of_torch.add(alias.asname or "torch")
                    if any(map(is_private, alias.name.split("."))):
                        found.append((node.lineno, alias.name))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            for alias in node.names:
                of_torch.add(alias.asname or alias.name)
                name = f"{node.module}.{alias.name}"
                if any(map(is_private, name.split("."))):
                    found.append((node.lineno, name))
        elif isinstance(node, ast.ClassDef):
            methods = (
                x for x in node.body if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef))
            )
            found += [(x.lineno, f"def {x.name}") for x in methods if x.name in PRIVATE]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = dotted(node) or []
            known = chain and chain[0] in of_torch
            if is_private(node.attr) and (known or node.attr in PRIVATE):
                found.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # getattr(module, "_buffers"), or monkeypatch.setattr("torch._C.name", ...)
            parts = node.value.split(".")
            path = parts[0] == "torch" and all(part.isidentifier() for part in parts)
            if node.value in PRIVATE or (path and any(map(is_private, parts))):
                found.append((node.lineno, repr(node.value)))
    return sorted(set(found))


def test_private_names_of_torch_are_in_one_place():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in ("unitary_zoo", "comparisons", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path not in ALLOWED
        for line, name in private_names(path.read_text(encoding="utf-8"))
    ]
    assert not found, "wrap these in unitary_zoo/_torch/:\n" + "\n".join(found)


PLANTED = """
import torch._dynamo
from torch.utils._python_dispatch import TorchDispatchMode
from torch.nn.utils import parametrize as p
from torch.autograd import forward_ad

class Scheme(torch.nn.Module):
    def _apply(self, fn):
        return super()._apply(fn)

def look(x, module):
    torch._C._get_tracing_state()
    p._cache_enabled, forward_ad._current_level
    torch.ops.mkldnn._linear_pointwise(x)
    module._buffers["w"], getattr(module, "_parameters"), x._version
    patch("torch._C.name")
    module.own._private, __name__, torch.__version__
"""


def test_private_names_finds_each_way_to_use_one():
    names = {name for _, name in private_names(PLANTED)}
    assert names == {
        "torch._dynamo", "torch.utils._python_dispatch.TorchDispatchMode", "def _apply",
        "super()._apply", "torch._C", "torch._C._get_tracing_state", "p._cache_enabled",
        "forward_ad._current_level", "torch.ops.mkldnn._linear_pointwise", "module._buffers",
        "'_parameters'", "x._version", "'torch._C.name'",
    }  # fmt: skip
