"""What a process sets when it starts: threads, memory, and who multiplies matrices."""

import platform
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from rbc_rllib.play import process
from rbc_rllib.play.process import keep_freed_memory, multiply_with_onednn, prepare_process

MATMUL = "torch.backends.mkldnn.matmul.fp32_precision"


def printed(code: str) -> list[str]:
    """The lines that a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_prepared_process_has_the_threads_that_it_was_told():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            prepare_process(threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_network_leaves_the_process_as_it_was():
    """Whoever builds one from Python keeps the settings of torch; only processes of our own are prepared."""
    threads, usual, *after = printed(
        f"import torch; print(torch.get_num_threads(), {MATMUL}, sep='\\n')\n"
        "from rbc_rllib import ExperimentConfig; from rbc_rllib.play.modules import untrained_modules\n"
        f"untrained_modules(ExperimentConfig()); print(torch.get_num_threads(), {MATMUL}, sep='\\n')"
    )
    assert after == [threads, usual]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_kept_memory_is_not_cleared_by_the_kernel_again():
    keep_freed_memory()

    def page_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            held = [torch.ones(500_000) for _ in range(8)]  # 2 MB, 488 pages each
            del held
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    page_faults()
    assert page_faults() < 20 * 8 * 488 / 10


def test_other_c_libraries_are_left_alone(monkeypatch):
    def no_such_library(name):
        raise OSError

    for other in (no_such_library, lambda name: SimpleNamespace()):
        monkeypatch.setattr(process.ctypes, "CDLL", other)
        keep_freed_memory.__wrapped__()


@pytest.fixture
def matmul():
    """torch's settings of oneDNN's matrix products, put back in the end."""
    settings = torch.backends.mkldnn.matmul
    before, settings.fp32_precision = settings.fp32_precision, "none"
    yield settings
    settings.fp32_precision = before


def test_onednn_multiplies_with_the_precision_of_float32(matmul):
    one, other = torch.rand((2, 300, 300), generator=torch.Generator().manual_seed(0))
    exact = one.double() @ other.double()
    multiply_with_onednn.__wrapped__()
    torch.testing.assert_close((one @ other).double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("product", "setting"), [(255.9, "bf16"), (256.0, "none")])
def test_onednn_is_not_asked_where_it_would_round_to_bfloat16(matmul, monkeypatch, product, setting):
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: torch.tensor([product]))
    multiply_with_onednn.__wrapped__()
    assert matmul.fp32_precision == setting
