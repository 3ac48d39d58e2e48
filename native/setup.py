"""Builds saam_native/libsaam.so: the kernels once for each instruction set, and the operations that choose among them.

The library is not a Python extension and knows nothing of Python: torch.ops.load_library loads it.
"""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

X86 = platform.machine().lower() in ("x86_64", "amd64")
# The baseline comes first: of equal inline functions the linker keeps the first, which must run on every processor.
VARIANTS = {"baseline": []}
if X86:
    VARIANTS["avx2"] = ["-mavx2", "-mfma"]
    VARIANTS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]
OLDEST_TORCH = "0x020a000000000000"  # the binary runs on this version, 2.10, and all later ones


class Build(build_ext):
    """Compiles each file with its own flags, side by side."""

    def get_ext_filename(self, name: str) -> str:
        return os.path.join(*name.split(".")) + ".so"

    def build_extension(self, extension: Extension) -> None:
        import torch

        root = Path(torch.__file__).parent
        common = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-DNDEBUG", "-Wno-psabi"]
        jobs = [("kernels.cpp", name, ["-O3", f"-DSAAM_VARIANT={name}", *flags]) for name, flags in VARIANTS.items()]
        target = [f"-DTORCH_TARGET_VERSION={OLDEST_TORCH}", f"-isystem{root / 'include'}"]
        jobs.append(("ops.cpp", "ops", ["-O2", *target, *(["-DSAAM_X86"] if X86 else [])]))

        def compile_one(job: tuple[str, str, list[str]]) -> list[str]:
            file, name, flags = job
            output = os.path.join(self.build_temp, name)
            return self.compiler.compile([f"src/{file}"], output_dir=output, extra_postargs=[*common, *flags])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [path for paths in pool.map(compile_one, jobs) for path in paths]
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(extension.name),
            libraries=["torch_cpu"],
            library_dirs=[str(root / "lib")],
            extra_postargs=["-Wl,-undefined,dynamic_lookup"] if sys.platform == "darwin" else ["-Wl,--as-needed", "-s"],
            target_lang="c++",
        )


class Wheel(bdist_wheel):
    """One wheel for all Pythons of a platform."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("saam_native.libsaam", ["src/ops.cpp"])], cmdclass={"build_ext": Build, "bdist_wheel": Wheel}
)
