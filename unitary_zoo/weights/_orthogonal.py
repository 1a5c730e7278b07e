"""orthogonal(module, name, scheme): put any layer's weight on the group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from unitary_zoo._torch import own_parameters
from unitary_zoo.base import Parametrization
from unitary_zoo.weights._module_class import adopt
from unitary_zoo.weights._weight import OrthogonalWeight

M = TypeVar("M", bound=nn.Module)


def orthogonal(
    module: M,
    name: str = "weight",
    scheme: str | type[Parametrization] = "cayley",
    *,
    blocks: int = 1,
    flatten: bool = False,
    init: str | Tensor | None = None,
    **options: Any,
) -> M:
    r""":math:`Q^H Q = I` (tall and square) or :math:`Q Q^H = I` (wide) for ``module.name``.

    A drop-in replacement of ``torch.nn.utils.parametrizations.orthogonal``: afterwards
    ``module.weight`` reads as orthogonal and is differentiable in the parameters of the scheme,
    which become parameters of the module. The weight starts as the orthogonal matrix nearest to its
    present value. If the scheme cannot represent every orthogonal matrix, it draws its own start.

    - Assigning (``module.weight = X``) is exact for an orthogonal X that the scheme can represent;
      other orthogonal X are refused. For an X that is not orthogonal, a scheme that can represent
      every orthogonal matrix takes the nearest one, and the others refuse. Of an ``nn.Parameter``
      the values are taken; one that requires no gradient freezes the scheme, too.
    - A write into the weight (``nn.init.*_(module.weight)``, ``copy_``) has no effect, and a
      warning at the next reading says so, except for writes through ``.data``, which torch does not
      count. ``torch.func.functional_call`` with the plain name uses the given tensor as it is.
    - The functions of ``torch.nn.utils.parametrize`` work as usual: more parametrizations on top,
      ``remove_parametrizations``, ``cached()`` (never stale here). ``pickle``,
      ``copy.deepcopy`` and ``load_state_dict`` work. The last also loads the plain weight of a
      layer without scheme; :func:`plain_state_dict` exports one.
    - A weight in half precision or bfloat16 is the cast of a matrix in float32.
    - Create the optimizer afterwards, and call :func:`unitary_zoo.attach`.
    - A lazy module of ``torch.nn`` gets its scheme at the first batch.

    Args:
        module: The layer; changed in place.
        name: The name of its parameter, of shape (..., m, k); the leading dimensions are a batch.
            A batch of 8 or more has one module of a static scheme, with stacked parameters.
        scheme: Registered name or class. An m x k weight with m > k is the first k columns of an
            m x m matrix, so its cost is that of the longer side, except with "householder", which
            takes k reflections for it: O(m k^2) time and O(m k) memory.
        blocks: Number of equal parts of the first dimension, each orthogonal by itself: 3 for the
            gates of a GRU, 4 for those of an LSTM, 3 for the ``in_proj_weight`` of an attention.
        flatten: Treat a convolution kernel as the matrix (out, in * height * width).
        init: Name of an initialiser ("haar", "henaff", ...) or a weight to start from, instead of
            the present value.
        options: Options of the scheme.

    Returns:
        ``module``.

    Raises:
        ValueError: There is no such parameter, ``blocks`` does not divide its shape, or the scheme
            does not serve its field.
        UnknownSchemeError: There is no scheme of that name.
        TypeError: An argument has a wrong type.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{module!r} is not a torch.nn.Module; pass the layer that has the weight")
    cls = Parametrization.get(scheme) if isinstance(scheme, str) else scheme
    if not (isinstance(cls, type) and issubclass(cls, Parametrization)):
        raise TypeError(f"scheme={scheme!r}; pass a registered name or a Parametrization class")
    weight = _weight(module, name)
    if isinstance(weight, UninitializedParameter):
        arguments = {"blocks": blocks, "flatten": flatten, "init": init, **options}
        _at_first_forward(module, lambda: orthogonal(module, name, cls, **arguments))
        return module
    field = _field_option(cls, weight, name, options)
    parametrization = OrthogonalWeight(
        weight, cls, blocks=blocks, flatten=flatten, init=init, **{**options, **field}
    )
    parametrize.register_parametrization(module, name, parametrization)
    if not weight.requires_grad:
        parametrization.requires_grad_(False)
    adopt(module)
    return module


# -------------------------------------------------------------------------- checks of arguments


def _weight(module: nn.Module, name: str) -> Tensor:
    """Return the parameter ``name`` of ``module``, or raise if it cannot be orthogonal."""
    where = f"{type(module).__name__}.{name}"
    _refuse_nested(module, name)
    if parametrize.is_parametrized(module, name):
        raise ValueError(
            f"{where} has a parametrization already, and an orthogonal one has to be the first; "
            "call torch.nn.utils.parametrize.remove_parametrizations, then orthogonal(), and add "
            "others afterwards"
        )
    weight = own_parameters(module).get(name)
    if weight is None:
        suitable = [key for key, p in own_parameters(module).items() if p is not None]
        raise ValueError(
            f"{type(module).__name__} has no parameter {name!r} of its own; it has {suitable}"
        )
    if isinstance(weight, UninitializedParameter):
        return weight
    if weight.dim() < 2 or 0 in weight.shape:
        raise ValueError(
            f"{where} has shape {tuple(weight.shape)}; only a tensor of two or more dimensions, "
            "none of them 0, can be orthogonal"
        )
    for option in ("padding_idx", "max_norm"):
        if isinstance(module, nn.Embedding) and getattr(module, option) is not None:
            raise ValueError(
                f"{where}: {option}={getattr(module, option)} rewrites rows of the embedding, "
                f"which an orthogonal weight does not allow; build it without {option}"
            )
    return weight


def _refuse_nested(module: nn.Module, name: str) -> None:
    """Raise if ``name`` is a module, or a path to a tensor of another module."""
    path, _, last = name.rpartition(".")
    modules = dict(module.named_modules())
    if name and name in modules:
        suitable = [key for key, p in own_parameters(modules[name]).items() if p is not None]
        raise ValueError(
            f"{name!r} is a {type(modules[name]).__name__}, not a parameter; pass the module and "
            f"the name of its parameter: orthogonal(module{_access(name)}, NAME), where NAME is "
            f"one of {suitable}"
        )
    if path in modules and path:
        raise ValueError(
            f"{name!r} belongs to a module inside {type(module).__name__}; pass that module: "
            f"orthogonal(module{_access(path)}, {last!r})"
        )


def _access(path: str) -> str:
    """The Python expression for a path of modules: ``.encoder[0]`` for ``encoder.0``."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))


def _field_option(
    scheme: type[Parametrization], weight: Tensor, name: str, options: Mapping[str, Any]
) -> dict[str, str]:
    """Return the option ``field`` by the dtype of the weight; empty if the scheme has one field."""
    field = "complex" if weight.is_complex() else "real"
    if field not in scheme.info.fields:
        raise ValueError(
            f"{name} is {weight.dtype} and {scheme.info.name} is "
            f"{' and '.join(scheme.info.fields)} only; take one of "
            f"{', '.join(Parametrization.names(fields=field))}"
        )
    if options.get("field", field) != field:
        raise ValueError(
            f"field={options['field']!r}, but {name} is {weight.dtype}; leave field out, it "
            "follows the weight"
        )
    refused = [option for option in ("device", "dtype") if option in options]
    if refused:
        raise TypeError(f"{refused} given; the scheme follows the weight, so convert the module")
    return {"field": field} if len(scheme.info.fields) > 1 else {}


def _at_first_forward(module: nn.Module, then: Callable[[], object]) -> None:
    """Call ``then`` before the first forward pass of a lazy module, when its weight has a shape."""

    def hook(lazy: nn.Module, _: Any) -> None:
        handle.remove()
        then()

    handle = module.register_forward_pre_hook(hook)
