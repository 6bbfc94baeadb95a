"""What a process that plays or trains sets once, when it starts: threads, memory, and who multiplies matrices."""

import ctypes
from contextlib import suppress
from functools import cache

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST_KEPT = 2**31 - 1


def prepare_process(torch_threads: int = 1) -> None:
    """Pin torch's threads, keep freed memory and let oneDNN multiply; for every process of our own, at its start."""
    torch.set_num_threads(torch_threads)
    keep_freed_memory()
    multiply_with_onednn()


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where its C library is glibc; elsewhere nothing happens.

    glibc returns arrays of more than 128 KiB to the kernel as soon as they are freed, and the kernel clears every page
    of the next ones again, which takes up to a quarter of an update. Peak memory stays what it was.
    """
    with suppress(AttributeError, OSError, TypeError):  # no mallopt: macOS, musl, Windows
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT)


@cache
def multiply_with_onednn() -> None:
    """Let oneDNN multiply torch's float32 matrices on this process's CPU, where that costs no precision.

    MKL, torch's own choice, does not use AVX-512 on AMD's processors; oneDNN does and is twice as fast. torch asks it
    only if it may round factors to bfloat16. It does that on processors with units for it (Intel's AMX), which one
    product of ours finds out: then torch goes on as before.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    usual = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    almost_one = torch.full((256, 256), 1 - 2**-12)  # 1 in bfloat16
    if (almost_one @ almost_one).max() >= 256:
        matmul.fp32_precision = usual
