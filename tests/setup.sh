#!/usr/bin/env bash
# Installs what the end-to-end tests meet for real: psql, Prometheus, node_exporter, Alertmanager, Chromium, systemd's journal,
# rsyslog, the OpenTelemetry SDK for Python and Node, Elastic's client and DuckDB for Python. Does nothing for what is there; says in one line what it cannot install.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
missing=()
need psql postgresql-client
need prometheus prometheus
need prometheus-node-exporter prometheus-node-exporter
need prometheus-alertmanager prometheus-alertmanager
need chromium chromium
need journalctl systemd
need logger bsdutils
need openssl openssl
[ -x /usr/sbin/rsyslogd ] || missing+=(rsyslog)
ls /usr/lib/*/rsyslog/lmnsd_ossl.so >/dev/null 2>&1 || missing+=(rsyslog-openssl)
[ -x /lib/systemd/systemd-journal-remote ] || missing+=(systemd-journal-remote)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  echo "==> installing ${missing[*]}"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # The packages' own services would take the ports that people use; the tests start their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
      printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
      trap 'rm -f $policy' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the end-to-end tests need: ${missing[*]}; install them (Debian: sudo apt-get install ${missing[*]}) and run again" >&2
    exit 1
  fi
fi

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import duckdb, elasticsearch, opentelemetry.exporter.otlp.proto.grpc, opentelemetry.sdk' 2>/dev/null; then
  echo "==> installing the OpenTelemetry SDK, Elastic's client and DuckDB for Python"
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
fi

if [ ! tests/node/node_modules -nt tests/node/package-lock.json ]; then
  if command -v npm >/dev/null 2>&1; then
    echo "==> installing the OpenTelemetry SDK for Node"
    (cd tests/node && npm ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules)
  else
    echo "the end-to-end tests need Node 20 or newer; install it and run again" >&2
    exit 1
  fi
fi
