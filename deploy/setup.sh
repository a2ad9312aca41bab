#!/usr/bin/env bash
# Sets up .venv with every Python dependency and, as root on Debian, the system packages.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

is_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

missing=()
while read -r package; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < <(grep -v '^#' deploy/debian-packages.txt)
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
  if is_root_on_debian; then
    echo "installing ${missing[*]}"
    # a server that starts by itself would take the ports that a site or a test wants
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "not root on Debian: these packages are missing, demo and tests want them: ${missing[*]}" >&2
  fi
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed, $("$python" --version) found; name another with PYTHON=..." >&2
  exit 1
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing Python packages into .venv (some minutes the first time)"
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt "setuptools>=80" wheel
# torch by itself first: its CPU build where the index has one, and no other build later
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
.venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
# its metadata asks for numpy<2 and protobuf<5, but it works with ours; what it needs is in pyproject.toml
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -c constraints.txt mediapipe==0.10.21
