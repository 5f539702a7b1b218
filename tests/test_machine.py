"""What is said about the machine, and which device is chosen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tellapart import machine
from tellapart.errors import TellapartError


def test_the_description_is_plain_data() -> None:
    facts = asdict(machine.describe_machine("cpu"))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 100 * 2**20
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["packages"]["numpy"] == __import__("numpy").__version__


def test_an_accelerator_is_named_by_its_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of a run on a GPU is that GPU, whether or not PyTorch was loaded before."""
    names = {"cuda": "NVIDIA H100", "cuda:1": "NVIDIA L4"}
    monkeypatch.setattr("torch.cuda.get_device_name", names.__getitem__)
    assert machine.describe_machine("cuda").device_name == "NVIDIA H100"
    assert machine.describe_machine("cuda:1").device_name == "NVIDIA L4"
    assert machine.describe_machine("cpu").device_name == machine.processor_name()


def test_describing_and_choosing_do_not_import_torch() -> None:
    program = (
        "import sys; from tellapart import machine\n"
        "machine.describe_machine(machine.resolve_device('cpu')); machine.keep_memory()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_peak_memory_grows_with_what_is_held() -> None:
    program = (
        "from tellapart.machine import peak_memory_bytes as peak\n"
        "before = peak(); block = bytearray(b'x') * (64 << 20); del block\n"
        "assert before == 0 or peak() - before > 60 << 20"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_cores_respect_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_text", lambda path: "100000 100000\n")
    assert machine.num_cores() == 1
    monkeypatch.setattr(machine, "_text", lambda path: "max 100000\n")
    assert machine.num_cores() >= 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu sse avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: fpu sse avx512f avx2\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("", False),
    ],
)
def test_bf16_is_read_from_the_processor(
    flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_text", lambda path: flags)
    assert machine.has_bf16.__wrapped__() is expected


def test_an_unknown_device_is_said() -> None:
    with pytest.raises(TellapartError, match="There is no device 'gpu'; choose from auto, cpu"):
        machine.resolve_device("gpu")


def test_an_absent_device_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_accelerators", lambda: ())
    with pytest.raises(TellapartError, match=r"'cuda' is not available here \(there is: cpu\)"):
        machine.resolve_device("cuda")


def test_auto_takes_the_fastest_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_may_have_accelerator", lambda: True)
    monkeypatch.setattr(machine, "_accelerators", lambda: ("cuda", "xpu"))
    assert machine.resolve_device("auto") == "cuda"
    assert machine.resolve_device("xpu") == "xpu"
    monkeypatch.setattr(machine, "_accelerators", lambda: ())
    assert machine.resolve_device("auto") == "cpu"


def test_kept_memory_is_not_given_back(tmp_path: Path) -> None:
    """A large block that is freed and taken again costs no new page faults."""
    program = tmp_path / "faults.py"
    program.write_text(
        "import resource, sys\n"
        "from tellapart.machine import keep_memory\n"
        "if not keep_memory(): sys.exit(0)\n"
        "def touch():\n"
        "    block = bytearray(96 << 20); del block\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "touch(); before = faults(); [touch() for _ in range(5)]\n"
        "assert faults() - before < 1000, faults() - before\n"
    )
    subprocess.run([sys.executable, str(program)], check=True, timeout=60)


def test_small_products_get_one_thread_each_and_then_all_again() -> None:
    """BLAS and OpenMP of every library that fits a probe, whether it was loaded before or not."""
    code = """
from tellapart.machine import single_threaded
from threadpoolctl import threadpool_info
with single_threaded("sklearn.linear_model"):
    inside = [pool["num_threads"] for pool in threadpool_info()]
print(len(inside), max(inside), max(pool["num_threads"] for pool in threadpool_info()))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
    ).stdout  # fmt: skip
    pools, inside, outside = map(int, said.split())
    assert pools >= 2
    assert (inside, outside) == (1, 3)
