"""When a batch does not fit into memory."""

from __future__ import annotations

import gc

import torch

#: What PyTorch's allocators say: the CPU's, MKL's, Apple's, and cuBLAS.
_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "could not allocate",
    "cublas_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in _WORDS)


def free_memory() -> None:
    """Give back what failed work held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
