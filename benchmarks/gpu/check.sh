#!/usr/bin/env bash
# On a machine with one NVIDIA GPU and no network: does distillation on it learn what the CPU learns, and how fast; see check.py.
#
# It needs a checkout and a Python with torch 2.11 or later, torchvision, timm, accelerate, transformers, scikit-learn, scipy,
# safetensors, rich and psutil, and in the folder .whl of the checkout (or $WHEELS) the wheels of what such a machine lacks:
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 \
#     --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
#     pydantic pydantic-core annotated-types typing-inspection ruamel.yaml==0.19.1 torchao==0.18.0 executorch==1.5.1
# Wheels of packages that are there are not replaced. About five minutes. Arguments go to check.py; $OUT, where it is set, gets the output.
set -euo pipefail
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
wheels=${WHEELS:-.whl}
if compgen -G "$wheels/*.whl" >/dev/null; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH="$PWD:$site"
python3 benchmarks/gpu/check.py "$@" | tee "${OUT:-$site}/gpu-check.txt"
