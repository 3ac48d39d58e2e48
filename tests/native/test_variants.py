"""The compiled library: which kernels it chooses, and that those of every processor are right."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

saam_native = pytest.importorskip("saam_native")
TESTS = Path(__file__).parents[1] / "functional" / "fused" / "test_joint.py"


def chosen(wish):
    code = f"""
import ctypes, torch
library = ctypes.CDLL({str(saam_native.library)!r})
library.saam_native_variant.restype = ctypes.c_char_p
print(library.saam_native_variant().decode())
"""
    environment = os.environ | {"SAAM_NATIVE_VARIANT": wish}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_processor_decides_and_the_environment_can_ask_for_less():
    assert chosen("").strip() in ("avx512", "avx2", "baseline")
    assert chosen("baseline").strip() == "baseline"
    assert chosen("no such variant").strip() == "baseline"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["baseline", "avx2"])
def test_results_of_the_variants_that_the_processor_would_not_choose(variant):
    if chosen(variant).strip() != variant or chosen("").strip() == variant:
        pytest.skip("the processor has no such kernels, or the other tests run them")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "test_results", str(TESTS)]
    environment = os.environ | {"SAAM_NATIVE_VARIANT": variant}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=TESTS.parents[2], check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm here")
def test_the_library_is_not_bound_to_a_python():
    assert ctypes.CDLL(str(saam_native.library)).saam_native_variant
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", saam_native.library], capture_output=True, text=True, check=True
    )
    assert not [line for line in symbols.stdout.splitlines() if " Py" in line]
