#!/usr/bin/env bash
# Measures Binnacle beside real peers with the harness in ../shared/bench (or $BENCH_HARNESS) and prints its tables.
# Peers without a binary on this machine are skipped; Debian has prometheus and victoria-metrics.
#   bench/run.sh                      all four data sets
#   bench/run.sh metrics-10000x240    one of them
set -euo pipefail
cd "$(dirname "$0")/.."
harness="${BENCH_HARNESS:-$PWD/../shared/bench}"
[ -d "$harness" ] || { echo "no benchmark harness at $harness; set BENCH_HARNESS" >&2; exit 1; }
work="${BENCH_DIR:-$PWD/bench}"
mkdir -p "$work"
if [ -z "${BENCH_BINNACLE_BIN:-}" ]; then
  echo "==> building with the release profile (fat optimisation: long the first time)"
  cargo build --release --locked --bin binnacle
  export BENCH_BINNACLE_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/binnacle"
fi
cp -n "$harness"/*.py "$harness"/*.txt "$harness"/ours.json "$work"/ 2>/dev/null || true
cd "$work"
[ -x .venv/bin/python ] || { python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt; }
py=.venv/bin/python
sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(metrics-10000x240 metrics-100000x60 logs-1000000 traces-20000)
for set in "${sets[@]}"; do
  if [ ! -d "data/$set" ] && ! ls data/"$set"* >/dev/null 2>&1; then
    echo "==> making $set (once)"
    case $set in
      metrics-*) n=${set#metrics-}; $py gen_metrics.py --series "${n%x*}" --scrapes "${n#*x}" ;;
      logs-*) $py gen_logs.py --lines "${set#logs-}" ;;
      traces-*) $py gen_traces.py --traces "${set#traces-}" ;;
    esac
  fi
  echo "==> $set"
  $py run.py --set "$set" --more ours.json
done
$py report.py
