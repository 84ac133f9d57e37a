"""Builds the compiled part of perpkit-fast; everything else stands in pyproject.toml.

PERPKIT_FAST_CHECKS=overflow makes signed overflow a trap, PERPKIT_FAST_CHECKS=memory puts AddressSanitizer in: see
checks.sh.
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

# What Python itself was compiled with may have made overflow wrap round.
CHECKS = {
    "": [],
    "overflow": ["-fno-wrapv", "-fsanitize=signed-integer-overflow", "-fsanitize-undefined-trap-on-error"],
    "memory": ["-fsanitize=address", "-fno-omit-frame-pointer", "-g"],
}


class BuildOrSayWhatIsMissing(build_ext):
    """The usual build, with a last line that helps."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError, OSError) as error:
            raise SystemExit(
                f"perpkit-fast: expected a C compiler and the headers of Python {sys.version_info.major}."
                f"{sys.version_info.minor} (packages such as gcc and python3-dev), could not compile: {error}. "
                "perpkit works without this package; its book is then 'price-time'."
            ) from error


asked = os.environ.get("PERPKIT_FAST_CHECKS", "")
if asked not in CHECKS:
    raise SystemExit(f"PERPKIT_FAST_CHECKS: expected one of {', '.join(filter(None, CHECKS))}, was {asked!r}")
# The way of an order through the book is one function for the compiler, or a tenth of the time goes on calls. More than
# -O2 unrolls loops that mostly run once.
fast = [] if sys.platform == "win32" else ["-O2", "-DCYTHON_INLINE=inline __attribute__((always_inline))"]
book = Extension(
    "perpkit_fast._book",
    ["src/perpkit_fast/_book.pyx"],
    include_dirs=["src/perpkit_fast"],
    depends=["src/perpkit_fast/_bits.h"],
    extra_compile_args=[*fast, *CHECKS[asked]],
    extra_link_args=CHECKS[asked],
)
setup(
    ext_modules=cythonize([book], include_path=["src"], build_dir="build"),
    cmdclass={"build_ext": BuildOrSayWhatIsMissing},
)
