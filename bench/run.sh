#!/usr/bin/env bash
# Measures Binnacle beside real peers with the harness in ../shared/bench (or $BENCH_HARNESS) and prints its tables.
# Peers without a binary on this machine are skipped; Debian has prometheus and victoria-metrics. DuckDB comes from PyPI.
#   bench/run.sh                      all four data sets
#   bench/run.sh metrics-10000x240    one of them
# BENCH_DIR        where data sets, results and the Python environment live (default: target/bench)
# BENCH_BINNACLE_BIN   a binary that is built already (default: the release profile, built here)
# BENCH_SYSTEMS_ONLY   comma list of systems (default: all that have a binary)
set -euo pipefail
cd "$(dirname "$0")/.."
harness="${BENCH_HARNESS:-$PWD/../shared/bench}"
[ -d "$harness" ] || { echo "no benchmark harness at $harness; set BENCH_HARNESS" >&2; exit 1; }
target="${CARGO_TARGET_DIR:-$PWD/target}"
work="${BENCH_DIR:-$target/bench}"
mkdir -p "$work"
if [ -z "${BENCH_BINNACLE_BIN:-}" ]; then
  echo "==> building with the release profile (long the first time)"
  cargo build --release --locked --bin binnacle
  export BENCH_BINNACLE_BIN="$target/release/binnacle"
fi
# The harness makes its data beside itself, and belongs to another tree: it runs from a copy.
cp -u "$harness"/*.py "$harness"/*.txt "$harness"/ours.json "$work"/
cd "$work"
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
py=.venv/bin/python

sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(metrics-10000x240 metrics-100000x60 logs-1000000 traces-20000)
only=()
[ -z "${BENCH_SYSTEMS_ONLY:-}" ] || only=(--systems "$BENCH_SYSTEMS_ONLY")
for set in "${sets[@]}"; do
  # The manifest is written last, so a data set that was cut short is made again.
  if [ ! -f "data/$set.json" ]; then
    echo "==> making $set (once)"
    case $set in
      metrics-*) n=${set#metrics-}; $py gen_metrics.py --series "${n%x*}" --scrapes "${n#*x}" ;;
      logs-*) $py gen_logs.py --lines "${set#logs-}" ;;
      traces-*) $py gen_traces.py --traces "${set#traces-}" ;;
      *) echo "no such data set: $set (metrics-SERIESxSCRAPES, logs-LINES, traces-TRACES)" >&2; exit 2 ;;
    esac
  fi
  echo "==> $set"
  $py run.py --set "$set" --more ours.json "${only[@]}"
done
# DuckDB reads the same lines and spans.
if [ -f data/logs-1000000.json ] && [ -f data/traces-20000.json ]; then
  echo "==> duckdb"
  $py sql_bench.py --logs logs-1000000 --traces traces-20000
fi
echo "==> this machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(awk '/MemTotal/ {printf "%.0f GiB", $2/1048576}' /proc/meminfo); $("$BENCH_BINNACLE_BIN" version)"
$py report.py
