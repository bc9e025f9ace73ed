#!/usr/bin/env python3
"""Searches, metrics and traces by id over many spans: wall and CPU ms of each, the median and the worst of some rounds.

Run it in the folder of the harness, after many_spans.py and a compaction: ask_spans.py traces-20000 HTTP-PORT PID [ROUNDS] [WORD]
With WORD, only questions whose name has it. Before a cold trace by id the server's files are put out of the page cache.
"""
import http.client
import json
import os
import pathlib
import random
import statistics
import sys
import time
import urllib.parse

sys.path.insert(0, ".")
from common import cpu_seconds, read_json  # noqa: E402

SEARCHES = [
    ("slow pool wait", '{ name = "pool.acquire" && duration > 200ms }'),
    ("user attribute", '{ span.user.id = "u-77" }'),
    ("a user of few", '{ span.user.id = "u-98765" }'),
    ("slow spans", "{ duration > 280ms }"),
    ("slow spans, none", "{ duration > 5s }"),
    ("errors", "{ status = error }"),
    ("service and status", '{ resource.service.name = "shipping" && status = error }'),
    ("route", '{ span.http.route = "/api/v1/refund" }'),
    ("status code", "{ span.http.response.status_code = 504 }"),
    ("all of a service", '{ resource.service.name = "ledger" }'),
    ("everything", "{ }"),
    ("regex, many", '{ span.http.route =~ ".*orders" }'),
    ("regex, few", '{ span.user.id =~ "u-9876." }'),
    ("regex, none", '{ span.user.id =~ "x-.*" }'),
    ("regex on any scope, none", '{ .user.id =~ "x-.*" }'),
    ("regex on the name, none", '{ name =~ "no.*such" }'),
    ("no such attribute", '{ span.nothing = "x" }'),
    ("not equal", '{ span.http.response.status_code != 200 && span.http.response.status_code != nil }'),
    ("trace duration", "{ traceDuration > 300ms }"),
    ("trace duration, none", "{ traceDuration > 10s }"),
    ("root service, none", '{ rootServiceName = "foo" }'),
    ("count, few", "{ } | count() > 40"),
    ("count, some", "{ } | count() > 17"),
    ("structure", '{ resource.service.name = "checkout" } >> { name = "pool.acquire" && duration > 200ms }'),
    ("structure, none", '{ name = "pool.acquire" } >> { status = error }'),
    ("siblings, none", '{ name = "pool.acquire" } ~ { status = error }'),
    ("average of few", '{ name = "pool.acquire" } | avg(duration) > 290ms'),
]
METRICS = [
    ("rate", "{ } | rate()"),
    ("rate by service", "{ } | rate() by (resource.service.name)"),
    ("rate of slow server spans by service",
     "{ kind = server && duration > 10ms } | rate() by (resource.service.name)"),
    ("two quantiles by service", "{ } | quantile_over_time(duration, 0.5, 0.99) by (resource.service.name)"),
    ("histogram", "{ } | histogram_over_time(duration)"),
    ("histogram by service", "{ } | histogram_over_time(duration) by (resource.service.name)"),
    ("rate by route", "{ } | rate() by (span.http.route)"),
    ("average by name", "{ } | avg_over_time(duration) by (name)"),
    ("errors by service", "{ status = error } | count_over_time() by (resource.service.name)"),
    ("top 10 users", "{ } | count_over_time() by (span.user.id) | topk(10)"),
    ("slow compared", "{ } | compare({ duration > 200ms })"),
]


class Asked:
    def __init__(self, port, pid):
        self.connection, self.pid = http.client.HTTPConnection("127.0.0.1", port, timeout=300), pid

    def get(self, path, **query):
        self.connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers={"Accept": "application/json"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return {"error": f"{answer.status} {body[:120]}"}
        return json.loads(body)

    def timed(self, rounds, path, **query):
        """Median and worst wall ms, mean CPU ms, the last answer."""
        walls, cpu, answer = [], cpu_seconds(self.pid), None
        for _ in range(rounds):
            began = time.perf_counter()
            answer = self.get(path, **query)
            walls.append((time.perf_counter() - began) * 1e3)
        return statistics.median(walls), max(walls), (cpu_seconds(self.pid) - cpu) / rounds * 1e3, answer


def percentiles(walls):
    walls = sorted(walls)
    return f"median {statistics.median(walls):.1f} ms, p95 {walls[int(len(walls) * 0.95)]:.1f}, worst {walls[-1]:.1f}"


def main():
    name, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 7
    word = sys.argv[5] if len(sys.argv) > 5 else ""
    manifest, asked = read_json(f"data/{name}.json"), Asked(port, pid)
    start = manifest["start_ms"] // 1000
    hour = {"start": start - 60, "end": start + 3700}
    for title, query in SEARCHES:
        if word in title:
            median, worst, cpu, answer = asked.timed(rounds, "/tempo/api/search", q=query, limit=20, **hour)
            found = answer.get("error") or f"{len(answer.get('traces', []))} traces"
            print(f"{title:38} {median:8.1f} wall {worst:8.1f} worst {cpu:8.1f} cpu  {found}", flush=True)
    for title, query in METRICS:
        if word in title:
            median, worst, cpu, answer = asked.timed(
                rounds, "/tempo/api/metrics/query_range", q=query, start=start, end=start + 3600, step="60s", exemplars=0)
            found = answer.get("error") or f"{len(answer.get('series', []))} series"
            print(f"{title:38} {median:8.1f} wall {worst:8.1f} worst {cpu:8.1f} cpu  {found}", flush=True)
    if word in "trace by id":
        by_id(asked, manifest, hour)


def put_out(files):
    for path in files:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def by_id(asked, manifest, hour):
    with open(f"/proc/{asked.pid}/cmdline") as file:
        arguments = file.read().split("\0")
    data = pathlib.Path(f"/proc/{asked.pid}/cwd") / arguments[arguments.index("--data-dir") + 1]
    files = [path for path in (data / "parts").rglob("*") if path.is_file()]
    ids = []
    for at in range(0, 3600, 240):
        found = asked.get("/tempo/api/search", q="{ }", limit=14, start=hour["start"] + 60 + at, end=hour["start"] + 300 + at)
        ids += [trace["traceID"] for trace in found["traces"]]
    random.seed(1)
    random.shuffle(ids)
    for kind in ("warm", "cold"):
        walls = []
        for trace_id in ids[:200 if kind == "warm" else 40]:
            if kind == "cold":
                put_out(files)
            else:
                asked.get(f"/tempo/api/v2/traces/{trace_id}")
            began = time.perf_counter()
            asked.get(f"/tempo/api/v2/traces/{trace_id}")
            walls.append((time.perf_counter() - began) * 1e3)
        print(f"trace by id, {kind} ({len(walls)}): {percentiles(walls)}")


main()
