#!/usr/bin/env python3
"""Metrics under a memory limit: 30 days of 500 series, 100,000 series of a quarter of an hour, two senders of new series
without end, and queries that want all of it. Then `kill -9`, and what was acknowledged is counted.

Needs root (a control group, version 1) and the harness's Python: under_a_gibibyte.py BINARY [SECONDS] [LIMIT_MIB]
"""
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import cramjam

GROUP = pathlib.Path("/sys/fs/cgroup/memory/binnacle-bench")
PORT = 20901
URL = f"http://127.0.0.1:{PORT}"
STEP_MS = 15_000
WIDE, OLD = "wide", "old_metric"
QUARTER_S, MONTH_S = 900, 30 * 86_400

# Kind, query, seconds back, step; of a remote read the metric, and whether the answer is whole samples (0) or a stream (1).
ASKED = [
    ("query_range", f"avg by (n, pod, ns) ({WIDE})", QUARTER_S, 1),
    ("query_range", WIDE, QUARTER_S, 1),
    ("query_range", f"sum by (ns) ({WIDE})", QUARTER_S, 15),
    ("query_range", f"stddev by (n, pod, ns) (rate({WIDE}[5m]))", QUARTER_S, 1),
    ("query_range", f'count_values("v", {WIDE})', QUARTER_S, 1),
    ("query_range", f"max_over_time({WIDE}[15m:1s])", QUARTER_S, 1),
    ("query_range", '{__name__=~".+"}', QUARTER_S, 15),
    ("query_range", f"quantile by (ns) (0.9, {WIDE})", QUARTER_S, 1),
    ("query_range", f"topk by (n) (1, {WIDE})", QUARTER_S, 1),
    ("query_range", f"{WIDE} + on (n, pod, ns) {WIDE}", QUARTER_S, 1),
    ("query_range", f'label_replace({WIDE}, "x", "$1", "n", "(.*)")', QUARTER_S, 1),
    ("query_range", OLD, MONTH_S, 3600),
    ("query_range", OLD, MONTH_S, 300),
    ("query_range", f"sum by (host) (rate({OLD}[1h]))", MONTH_S, 600),
    ("query", '{__name__=~".+"}', 0, 0),
    ("query", f"{WIDE}[15m]", 0, 0),
    ("query", f"{OLD}[30d]", 0, 0),
    ("query", 'count by (__name__) ({__name__=~".+"})', 0, 0),
    ("series", '{__name__=~".+"}', 0, 0),
    ("label/uuid/values", "", 0, 0),
    ("status/tsdb", "", 0, 0),
    ("read", OLD, MONTH_S, 0),
    ("read", WIDE, QUARTER_S, 0),
    ("read", OLD, MONTH_S, 1),
]


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def series(labels, samples):
    message = b"".join(field(1, field(1, name) + field(2, value)) for name, value in sorted(labels.items()))
    for ts_ms, value in samples:
        message += field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(ts_ms))
    return field(1, message)


def write(body):
    """Status and text of a remote write."""
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{URL}/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as wrong:
        return wrong.code, wrong.read(110).decode()


def read_request(metric, back_s, stream, end_s):
    """A remote read of a metric, as Prometheus asks it."""
    times = varint(1 << 3) + varint((end_s - back_s) * 1000) + varint(2 << 3) + varint(end_s * 1000)
    query = times + field(3, field(2, "__name__") + field(3, metric))
    body = field(1, query) + varint(2 << 3) + varint(stream)
    return urllib.request.Request(f"{URL}/api/v1/read", bytes(cramjam.snappy.compress_raw(body)))


def ask(kind, query, back_s, step, end_s):
    """Status, bytes of the answer, and its beginning where it is a refusal."""
    params = {"query": query, "match[]": query, "time": end_s, "start": end_s - back_s, "end": end_s, "step": step}
    params = {name: value for name, value in params.items() if value}
    if not kind.startswith("query_range"):
        params = {name: value for name, value in params.items() if name in ("query", "match[]", "time")}
    request = f"{URL}/api/v1/{kind}?{urllib.parse.urlencode(params)}"
    if kind == "read":
        request = read_request(query, back_s, step, int(end_s))
    try:
        with urllib.request.urlopen(request, timeout=200) as answer:
            size = 0
            while piece := answer.read(1 << 20):
                size += len(piece)
            return answer.status, size, ""
    except urllib.error.HTTPError as wrong:
        return wrong.code, 0, wrong.read(180).decode()


class Server:
    def __init__(self, binary, data, limit_mib):
        self.binary, self.data, self.process = binary, data, None
        GROUP.mkdir(exist_ok=True)
        (GROUP / "memory.limit_in_bytes").write_text(str(limit_mib << 20))
        (GROUP / "memory.max_usage_in_bytes").write_text("0")

    def start(self):
        enter = lambda: (GROUP / "cgroup.procs").write_text(str(os.getpid()))
        ports = [f"--{name}=127.0.0.1:{PORT + i}" for i, name in enumerate(("http", "otlp-http", "otlp-grpc", "pg"))]
        self.process = subprocess.Popen(
            [self.binary, "up", "--no-agent", "--no-alerts", "--no-web", f"--data-dir={self.data}", *ports],
            preexec_fn=enter, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                if urllib.request.urlopen(f"{URL}/health/ready", timeout=2).status == 200:
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"the server ended with {self.process.returncode}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def memory(self):
        """MiB at most: of the process, and of the group with its page cache."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))
        return resident, int((GROUP / "memory.max_usage_in_bytes").read_text()) >> 20


def fill(now_ms):
    begin_ms = now_ms - MONTH_S * 1000
    for day in range(30):
        minutes = range(day * 1440, day * 1440 + 1440)
        for first in range(0, 500, 50):
            body = b"".join(
                series({"__name__": OLD, "n": str(n), "host": f"h{n % 20}"},
                       [(begin_ms + minute * 60_000, float(n + minute % 97)) for minute in minutes])
                for n in range(first, first + 50))
            assert write(body)[0] < 300
    for scrape in range(60):
        ts_ms = now_ms - QUARTER_S * 1000 + scrape * STEP_MS
        for first in range(0, 100_000, 5_000):
            body = b"".join(
                series({"__name__": WIDE, "n": str(n), "pod": f"pod-{n // 50}", "ns": f"ns{n % 7}"},
                       [(ts_ms, float(n * scrape % 1000))])
                for n in range(first, first + 5_000))
            assert write(body)[0] < 300


def send(sender, stop, accepted, refused):
    """New series without end. Of a request that is refused in part, the rest counts."""
    sent = 0
    while not stop.is_set():
        ts_ms = int(time.time() * 1000)
        body = b"".join(
            series({"__name__": f"bomb_{sender}", "id": f"{sender}-{sent}-{n}", "uuid": f"{random.getrandbits(128):032x}"},
                   [(ts_ms, 1.0)])
            for n in range(1000))
        try:
            status, why = write(body)
        except OSError:
            refused["no answer"] += 1
            continue
        if status < 300:
            accepted[sender] += 1000
            sent += 1
        else:
            accepted[sender] += 1000 - int(why.split()[0])
            refused[f"{status} {why}"] += 1
            time.sleep(0.5)


def question(seed, stop, answers, end_s):
    choose = random.Random(seed)
    while not stop.is_set():
        asked = choose.choice(ASKED)
        try:
            status, size, why = ask(*asked, end_s)
        except (OSError, http.client.HTTPException) as wrong:
            status, size, why = "no answer", 0, str(wrong)
        answers[asked].append((status, size, why))


def count(query):
    params = urllib.parse.urlencode({"query": query, "time": time.time()})
    with urllib.request.urlopen(f"{URL}/api/v1/query?{params}", timeout=200) as answer:
        return int(json.load(answer)["data"]["result"][0]["value"][1])


def main():
    binary, seconds, limit_mib = (sys.argv[1:] + ["120", "1024"][len(sys.argv) - 2:])[:3]
    data = tempfile.mkdtemp(prefix="under-a-gibibyte-")
    server = Server(binary, data, int(limit_mib))
    server.start()
    now_ms = int(time.time() * 1000) // STEP_MS * STEP_MS
    fill(now_ms)
    stop, accepted, refused, answers = threading.Event(), [0, 0], collections.Counter(), collections.defaultdict(list)
    work = [threading.Thread(target=send, args=(n, stop, accepted, refused)) for n in range(2)]
    work += [threading.Thread(target=question, args=(n, stop, answers, now_ms / 1000)) for n in range(3)]
    for thread in work:
        thread.start()
    until = time.time() + int(seconds)
    while time.time() < until and server.process.poll() is None:
        time.sleep(1)
    alive = server.process.poll() is None
    stop.set()
    print("alive" if alive else f"KILLED ({server.process.returncode})",
          "MiB of the process and of the group at most:", server.memory() if alive else "")
    for thread in work:
        thread.join()
    for why, times in refused.items():
        print(f"{times} writes: {why}")
    for (kind, query, _, step), told in answers.items():
        kinds = collections.Counter(status for status, _, _ in told)
        print(kind, query, step or "", dict(kinds), max((why for _, _, why in told), key=len))
    server.kill()
    server.start()
    for sender, number in enumerate(accepted):
        print(f"sender {sender}: {number} series accepted, {count(f'count(last_over_time(bomb_{sender}[1d]))')} found")
    print("samples of the quarter of an hour:", count(f"sum(count_over_time({WIDE}[1d]))"), "of 6000000")
    print("samples of 30 days:", count(f"sum(count_over_time({OLD}[31d]))"), "of 21600000")
    server.kill()
    shutil.rmtree(data)


main()
