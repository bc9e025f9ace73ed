#!/usr/bin/env python3
"""Reads the parts of a stopped Binnacle with DuckDB alone, and says what it finds, as a check that the files are plain Parquet.

  duckdb_reads.py DATA_DIR [--expect samples.csv]
samples.csv: rows of `select ts, name, value from metrics` as `binnacle sql --format csv` printed them before the stop;
each must be there, its value equal to the bit.
"""
import argparse
import csv
import datetime
import glob
import os
import struct
from collections import Counter

import duckdb

VALUE = "coalesce(value_f64, (base - mantissa)::double / pow(10.0::double, exp))"


def bits(value):
    return struct.pack("<d", value)


def milliseconds(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("data_dir")
    ap.add_argument("--expect")
    args = ap.parse_args()
    found = {}
    for signal in ("metrics", "logs", "spans"):
        files = glob.glob(os.path.join(args.data_dir, "parts", "*", signal, "*", "*.parquet"))
        if files:
            found[signal] = f"read_parquet({files!r}, union_by_name=true)"
            print(f"{signal}: {len(files)} files, {duckdb.sql(f'select count(*) from {found[signal]}').fetchall()[0][0]:,} rows")
    if "logs" in found:
        print(duckdb.sql(f"select service, severity, count(*) n from {found['logs']} group by all order by n desc limit 5"))
    if "spans" in found:
        print(duckdb.sql(f"select service, name, max(duration_ns) ns from {found['spans']} group by all order by ns desc limit 5"))
    if "metrics" in found and args.expect:
        rows = duckdb.sql(f"select ts, {VALUE} from {found['metrics']}").fetchall()
        ours = Counter((ts, bits(value)) for ts, value in rows)
        with open(args.expect, newline="") as file:
            asked = Counter((milliseconds(row["ts"]), bits(float(row["value"]))) for row in csv.DictReader(file))
        print(f"samples asked for: {sum(asked.values()):,}; not found to the bit: {sum((asked - ours).values())}")


if __name__ == "__main__":
    main()
