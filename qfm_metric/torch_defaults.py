"""The defaults that torch starts with, for building and tracing networks: whatever a program has set since, they come
out the same.

    default dtype       float32
    default device      the CPU
    inference mode      off: tensors made in it can never be trained through
    autocast            off, on the CPU

They hold in the calling thread alone; `torch.set_default_dtype` would change every thread.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What makes tensors from sizes, numbers and lists, and asks for the default dtype unless it is told one.
_MAKERS = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.tensor, torch.as_tensor, torch.scalar_tensor),
    *(torch.rand, torch.randn, torch.normal, torch.arange, torch.linspace, torch.logspace, torch.empty_strided),
}
_DRAWS = {Tensor.uniform_, Tensor.normal_}


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Inside, tensors are made as if nobody had changed torch's defaults.

    Raises:
        RuntimeError: no tensors that last can be made here, see `_makes_plain_tensors`.
    """
    with ExitStack() as held:
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.device("cpu"))
        held.enter_context(torch.autocast("cpu", enabled=False))
        if not _makes_plain_tensors():
            raise RuntimeError(
                "expected a place where torch makes plain tensors, got the inside of a function that torch.func "
                "transforms (grad, vmap), or of a mode for fake tensors; build the metric before, and call it here"
            )
        if torch.get_default_dtype() != torch.float32:
            held.enter_context(_Float32())
        yield


def _makes_plain_tensors() -> bool:
    """Whether tensors are what they are elsewhere: transforms refuse to prepare new ones, fake ones have no values."""
    made = torch.empty(0)
    try:
        return type(made.requires_grad_()) is Tensor
    except RuntimeError:
        return False


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Turn autocast off on a kind of device; before torch 2.5 MPS had none, and refused to turn it off."""
    if device.type == "mps" and not torch.amp.is_autocast_available("mps"):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def keeping_values(fn: Callable[[Tensor], Tensor], device: torch.device) -> Callable[[Tensor], Tensor]:
    """What a module's `_apply` is given, or a move to where it leads if it loses values, as that of `to_empty` does.

    Args:
        device: Where the module is; and stays, if that would be the meta device.
    """
    probe = torch.tensor(list(os.urandom(64)), dtype=torch.float32, device=device)  # nothing that lay there before
    found = fn(probe)
    with suppress(RuntimeError):  # fake tensors have no values to compare
        if found.is_meta or not torch.equal(found.to(probe), probe):
            return lambda tensor: tensor.to(device if found.is_meta else found.device)
    return fn


class NothingDrawn(TorchFunctionMode):
    """Inside, networks are built without initial values, for those that get stored ones.

    Drawing them takes as long as reading the stored ones. On the meta device torch would import its compiler for it,
    which takes as long as torch itself; so it would for arithmetic, which the constructors of our layers do without.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class _Float32(TorchFunctionMode):
    """Makes float32 what torch would make of another default dtype."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if func not in _MAKERS or kwargs.get("dtype") is not None or any(hasattr(value, "dtype") for value in args):
            return made
        # Made again rather than converted: by now the other type has rounded the values. Integers keep their own type.
        takes_default = isinstance(made, Tensor) and made.dtype == torch.get_default_dtype()
        return func(*args, **{**kwargs, "dtype": torch.float32}) if takes_default else made
