#!/bin/sh
# Runs the tests of perpkit-fast against a build that traps overflow, or one that watches every access to memory:
#   checks.sh overflow|memory PYTHON [pytest arguments]
# PYTHON needs perpkit[testing], numpy, Cython and setuptools. Nothing that is installed or built in place is touched.
set -eu
checks=$1
python=$2
shift 2
cd "$(dirname "$0")"
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
PERPKIT_FAST_CHECKS=$checks "$python" setup.py -q build --build-base "$built/base" --build-lib "$built/lib"
export PYTHONPATH="$built/lib${PYTHONPATH:+:$PYTHONPATH}"
export PERPKIT_FAST_COMMANDS="${PERPKIT_FAST_COMMANDS:-20000}"
if [ "$checks" = memory ]; then
  # The interpreter does not bring the sanitizer along, and leaves memory behind on purpose when it ends.
  export LD_PRELOAD="$(${CC:-cc} -print-file-name=libasan.so)" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0
fi
"$python" -m pytest -q -p no:cacheprovider tests "$@"
