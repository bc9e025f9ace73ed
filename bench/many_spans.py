#!/usr/bin/env python3
"""Millions of spans: the harness's traces sent again and again with other trace ids, spread over an hour.

Run it in the folder of the harness, with binnacle up: many_spans.py traces-20000 OTLP-HTTP-PORT COPIES [PID]
Each copy has other ids, of traces and of spans, or a part would have them packed once; its times are stretched to the hour and
moved by some milliseconds, so that copies of a trace do not begin in the same nanosecond. Prints what was sent and, with PID, the CPU seconds it took.
"""
import http.client
import mmap
import random
import sys
import threading
import time

import cramjam
import numpy as np

sys.path.insert(0, ".")
from common import cpu_seconds, read_frames, read_json  # noqa: E402

SENDERS = 4
HOUR_NS = 3600 * 10**9


def varint(buf, at):
    number = shift = 0
    while True:
        byte = buf[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def fields(buf, at, end):
    """(number, wire type, start of the value, its end) of each field of a message."""
    while at < end:
        tag, at = varint(buf, at)
        if tag & 7 == 2:
            length, at = varint(buf, at)
            yield tag >> 3, 2, at, at + length
            at += length
        elif tag & 7 == 1:
            yield tag >> 3, 1, at, at + 8
            at += 8
        else:
            began = at
            _, at = varint(buf, at)
            yield tag >> 3, 0, began, at


def places(buf):
    """Where the ids (in pieces of eight bytes) and the times (starts, ends, events) of a body's spans are."""
    ids, times = [], []
    for resource in (f for f in fields(buf, 0, len(buf)) if f[0] == 1):
        for scope in (f for f in fields(buf, resource[2], resource[3]) if f[0] == 2):
            for span in (f for f in fields(buf, scope[2], scope[3]) if f[0] == 2):
                for number, wire, start, end in fields(buf, span[2], span[3]):
                    if number in (1, 2, 4):
                        ids.extend(range(start, end, 8))
                    elif wire == 1 and number in (7, 8):
                        times.append(start)
                    elif number == 11:
                        times.append(next(f[2] for f in fields(buf, start, end) if f[0] == 1))
    return np.array(ids), np.array(times)


def read(array, at, width, kind):
    return array[at[:, None] + np.arange(width)].reshape(-1).view(kind)


def write(array, at, numbers, width):
    array[at[:, None] + np.arange(width)] = numbers.view(np.uint8).reshape(-1, width)


class Body:
    def __init__(self, packed, spans):
        self.spans = spans
        self.bytes = np.frombuffer(bytes(cramjam.gzip.decompress(packed)), np.uint8)
        self.ids_at, self.times_at = places(self.bytes.tobytes())
        self.ids = read(self.bytes, self.ids_at, 8, "<u8")
        self.times = read(self.bytes, self.times_at, 8, "<i8")

    def copy(self, number, begin_ns, stretched):
        out = self.bytes.copy()
        write(out, self.ids_at, self.ids ^ np.uint64(random.Random(number).getrandbits(64)), 8)
        # The body is moved as a whole, so that durations stay what they are.
        first = int(self.times.min())
        moved = begin_ns + int((first - begin_ns) * stretched) + number * 37_000_013 - first
        write(out, self.times_at, self.times + moved, 8)
        return out.tobytes()


def main():
    name, port, copies = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    pid = int(sys.argv[4]) if len(sys.argv) > 4 else None
    manifest = read_json(f"data/{name}.json")
    begin_ns = manifest["start_ms"] * 10**6
    stretched = HOUR_NS / ((manifest["end_ms"] - manifest["start_ms"]) * 10**6)
    with open(f"data/{name}.otlp.frames", "rb") as file:
        buf = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    bodies = [Body(buf[start:end], items) for _, items, start, end in read_frames(buf)]
    lock, next_at, sent = threading.Lock(), [0], [0, 0]
    cpu, began = cpu_seconds(pid) if pid else 0, time.monotonic()

    def send():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                at = next_at[0]
                next_at[0] += 1
            if at >= len(bodies) * copies:
                return
            # As senders do it: all copies of a minute before those of the next.
            body, number = bodies[at // copies], at % copies
            data = body.copy(number, begin_ns, stretched)
            while True:
                connection.request("POST", "/v1/traces", data, {"Content-Type": "application/x-protobuf"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 429 and answer.status < 500:
                    break
                time.sleep(0.2)
            if answer.status != 200:
                sys.exit(f"{answer.status} {text[:200]}")
            with lock:
                sent[0] += body.spans
                sent[1] += len(data)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    used = f", {cpu_seconds(pid) - cpu:.1f} CPU s" if pid else ""
    print(f"{sent[0]:,} spans, {sent[1] / 1e6:,.0f} MB, {time.monotonic() - began:.1f} s{used}")


main()
