#!/usr/bin/env bash
# Sets up a machine for Redoubt's development: Debian packages (as root), then the virtual environment named in $1.
set -euo pipefail
cd "$(dirname "$0")"
venv=${1:-.venv}
python=${PYTHON:-python3}

have_java() { command -v javac >/dev/null && javac -version 2>&1 | grep -qE 'javac (1[7-9]|[2-9][0-9])'; }
have_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "setup: $python is older than Python 3.11; set PYTHON to a newer one" >&2; exit 7; }

# "a | b" in packages.txt means the first of them that this release has.
choose() {
  local line name
  while IFS= read -r line; do
    IFS='|' read -ra names <<<"$line"
    for name in "${names[@]}"; do
      name=${name// /}
      if dpkg -s "$name" >/dev/null 2>&1 || apt-cache show "$name" >/dev/null 2>&1; then echo "$name"; break; fi
    done
  done < <(grep -vE '^\s*(#|$)' packages.txt)
}

missing() {
  local name
  for name in $(choose); do
    case $name in
      *jdk*) have_java || echo "$name" ;;
      python3-venv) have_venv || echo "$name" ;;
      *) dpkg -s "$name" >/dev/null 2>&1 || command -v "$name" >/dev/null || echo "$name" ;;
    esac
  done
}

if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ] && [ -z "$(ls /var/lib/apt/lists/*_Packages* 2>/dev/null | head -1)" ]; then
    apt-get update -qq
  fi
  mapfile -t need < <(missing)
  if [ "${#need[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
      echo "setup: installing Debian packages: ${need[*]}"
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null; }
    else
      echo "setup: some Debian packages are missing. Run this once, then the same make target again:" >&2
      echo "    sudo apt-get update && sudo apt-get install -y ${need[*]}" >&2
      have_java && have_venv || exit 7
    fi
  fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
echo "setup: installing pinned Python packages into $venv"
"$venv/bin/python" -m pip install -q -c constraints.txt hatchling editables setuptools wheel  # pyspark has no wheel
"$venv/bin/python" -m pip install -q -c constraints.txt --no-build-isolation -e '.[dev]'
"$venv/bin/python" -m pip install -q -c constraints.txt --no-build-isolation --no-deps -e dev
# Containers often set PYTHONDONTWRITEBYTECODE: every command would then compile Redoubt's modules anew.
"$venv/bin/python" -m compileall -q src/redoubt dev/src
