#!/usr/bin/env bash
# Makes the environment .venv with what a requirements file names, or leaves it alone where that is done already.
# What these packages bring along has the versions in constraints.txt (constraints-tpu.txt for TPUs).
#   bash scripts/setup.sh [requirements.txt]
#   bash scripts/setup.sh requirements-tpu.txt      makes .venv-tpu, with torch and torch_xla for TPUs; 8 GB
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=${1:-requirements.txt}
environment=.venv
constraints=constraints.txt
if [ "$requirements" = requirements-tpu.txt ]; then
    environment=.venv-tpu
    constraints=constraints-tpu.txt
fi

python=""
for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup.sh: Python 3.11 or newer is needed; python3 here is $(python3 --version 2>&1 || true)" >&2
    exit 2
fi

# The stamp is written last: a broken-off installation is done again, and one whose files have changed.
stamp=$environment/.installed-$(basename "$requirements")
wanted=$(cat requirements*.txt constraints*.txt)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
echo "setup.sh: installing $requirements into $environment (once; a few minutes)" >&2
if [ ! -x $environment/bin/python ] || ! $environment/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf $environment
    if ! "$python" -m venv $environment; then
        rm -rf $environment
        echo "setup.sh: $python cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 2
    fi
fi
# A build of torch that was installed beforehand, such as 2.13.0+cpu or 2.13.0+cu126, brings CUDA packages of its own or
# none. Those in the constraints go with the build on PyPI.
if $environment/bin/python -c 'from importlib.metadata import version; exit("+" not in version("torch"))' 2>/dev/null; then
    grep -vE '^(cuda|nvidia|triton)' "$constraints" >$environment/constraints-without-cuda.txt
    constraints=$environment/constraints-without-cuda.txt
fi
$environment/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" -c "$constraints"
printf '%s\n' "$wanted" >"$stamp"
