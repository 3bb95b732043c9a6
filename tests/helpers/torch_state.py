"""What a program may have set in torch before, and while, it uses the package."""

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


STATES = {
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "float64": lambda: default_dtype(torch.float64),
    "default device meta": lambda: default_device("meta"),
    "within a meta device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "deterministic": deterministic,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@contextmanager
def unusual_torch():
    """Several of them at once."""
    with ExitStack() as held:
        for name in ("bfloat16", "default device meta", "inference mode", "autocast"):
            held.enter_context(STATES[name]())
        yield
