#!/usr/bin/env bash
# Installs what this project needs on Debian 12 and is missing, and nothing else. Run by `make`; takes a moment when all is there.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
need() { # need PACKAGE PROGRAM-OR-FILE
    if [ "${2#/}" != "$2" ]; then [ -e "$2" ] && return; else command -v "$2" >/dev/null && return; fi
    packages+=("$1")
}

need build-essential cc
need make make
need openssl openssl
need locales /usr/share/i18n/locales/de_DE
need redis-server redis-server
need pgbouncer /usr/sbin/pgbouncer
need postgresql-client pg_basebackup
need prometheus promtool
need libfaketime /usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1
need prometheus-alertmanager prometheus-alertmanager
need prometheus-postgres-exporter prometheus-postgres-exporter
need python3-prometheus-client /usr/lib/python3/dist-packages/prometheus_client/openmetrics/parser.py
need python3-aiosmtpd /usr/lib/python3/dist-packages/aiosmtpd/smtp.py
need nodejs node
# A node from elsewhere brings its own npm.
need npm npm
# A python from elsewhere brings its own venv.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3 python3-venv); fi
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then packages+=(postgresql); fi
if ! compgen -G '/usr/lib/postgresql/*/lib/pg_stat_statements.so' >/dev/null; then packages+=(postgresql-contrib); fi

if [ "${#packages[@]}" -gt 0 ]; then
    echo "setup: installing Debian packages: ${packages[*]}"
    # Tests and the demo start servers of their own, so the packages must not: the policy says no, and no cluster is created.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
        trap 'as_root rm -f "$policy"' EXIT
    fi
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "${packages[@]}" >/dev/null
fi

sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/wasm32-wasip2" ]; then
    echo "setup: adding the Rust target wasm32-wasip2"
    rustup target add wasm32-wasip2
fi

# The Python example is built by componentize-py and the HTTP interface is tried by schemathesis, in the versions that their files name.
cd "$(dirname "$0")/.."
wanted=(plugins/examples/python-rule/requirements.txt tests/requirements.txt)
if [ ! -x target/python/bin/componentize-py ] || ! cat "${wanted[@]}" | cmp -s - target/python/requirements.txt; then
    echo "setup: installing componentize-py and schemathesis into target/python"
    python3 -m venv --clear target/python
    target/python/bin/pip install --quiet --disable-pip-version-check "${wanted[@]/#/--requirement=}"
    cat "${wanted[@]}" >target/python/requirements.txt
fi
