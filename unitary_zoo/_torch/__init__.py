"""Wrap the private names of torch; no other part of the library uses one."""

from unitary_zoo._torch.autocast import without_autocast
from unitary_zoo._torch.checks import traceable_check
from unitary_zoo._torch.compiler import COMPILER, reset_compiler
from unitary_zoo._torch.conversion import Convert, CustomConversion
from unitary_zoo._torch.entries import max_entry, to_lists
from unitary_zoo._torch.loading import LoadingHook, before_loading
from unitary_zoo._torch.operators import (
    in_memory,
    leaky_relu_gradient,
    onednn_product,
    relu_gradient,
    sigmoid_gradient,
    tanh_gradient,
)
from unitary_zoo._torch.optimizers import (
    reduced_with_hooks,
    remove_step_hooks,
    runs_step_hooks,
    step_hooks,
)
from unitary_zoo._torch.recurrent import rnn_members, without_computed_weights
from unitary_zoo._torch.tensors import (
    WriteCounter,
    is_swapped_in,
    named_parameters,
    named_tensors,
    own_parameters,
    own_tensors,
    parametrizations_are_cached,
)
from unitary_zoo._torch.tracing import (
    TorchDispatchMode,
    has_functional_transforms,
    has_tangent,
    has_values,
    in_forward_mode,
    is_batched,
    is_nested_forward_mode,
    is_traced,
    is_transformed,
    is_watched,
)

__all__ = [
    "COMPILER",
    "Convert",
    "CustomConversion",
    "LoadingHook",
    "TorchDispatchMode",
    "WriteCounter",
    "before_loading",
    "has_functional_transforms",
    "has_tangent",
    "has_values",
    "in_forward_mode",
    "in_memory",
    "is_batched",
    "is_nested_forward_mode",
    "is_swapped_in",
    "is_traced",
    "is_transformed",
    "is_watched",
    "leaky_relu_gradient",
    "max_entry",
    "named_parameters",
    "named_tensors",
    "onednn_product",
    "own_parameters",
    "own_tensors",
    "parametrizations_are_cached",
    "reduced_with_hooks",
    "relu_gradient",
    "remove_step_hooks",
    "reset_compiler",
    "rnn_members",
    "runs_step_hooks",
    "sigmoid_gradient",
    "step_hooks",
    "tanh_gradient",
    "to_lists",
    "traceable_check",
    "without_autocast",
    "without_computed_weights",
]
