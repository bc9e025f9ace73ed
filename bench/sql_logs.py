#!/usr/bin/env python3
"""SQL over the harness's log lines, asked of a running binnacle: CPU ms a query, the lowest of some rounds. The statements say
what those of the harness's sql_bench.py say. Run it in the folder of the harness, with the lines ingested and flushed:
  python3 sql_logs.py logs-1000000 HTTP-PORT PID [ROUNDS]
"""
import http.client
import json
import sys
import time

sys.path.insert(0, ".")
from common import cpu_seconds, read_json  # noqa: E402


def statements(m):
    """[(name, SQL, expected first value or None)]"""
    want = m["expect"]
    in_range = (f"ts >= to_timestamp_millis({m['start_ms']}) AND ts < to_timestamp_millis({m['end_ms']})")
    count = "SELECT count(*) AS c FROM logs WHERE"
    is_json = "body LIKE '{%'"
    return [
        ("needle", f"{count} body LIKE '%{m['needle']}%' AND {in_range}", want["needle"]),
        ("lines of a trace id", f"{count} body LIKE '%{m['trace_id']}%' AND {in_range}", want["trace"]),
        ("last 100 of an app", "SELECT body FROM logs WHERE service = 'checkout' ORDER BY ts DESC LIMIT 100", None),
        ("regex 5xx count", f"{count} namespace = 'ingress' AND body ~ 'HTTP/1.1\" 50[02] '", want["nginx_5xx"]),
        ("substring count", f"{count} body LIKE '%OutOfMemoryError%'", want["oom"]),
        ("json parse, count by level", "SELECT count(*) AS c, json_extract_string(body, '$.level') AS k FROM logs "
         f"WHERE {is_json} GROUP BY k ORDER BY c DESC", want["json_by_level"]["info"]),
        ("json filter on number", f"{count} {is_json} AND json_get_float(body, 'status') >= 500 "
         "AND json_get_float(body, 'duration_ms') > 500", None),
        ("range rate by app", "SELECT date_trunc('minute', ts) AS t, service, count(*) AS c FROM logs GROUP BY t, service "
         "ORDER BY t, service", None),
        ("topk users by json", "SELECT count(*) AS c, json_extract_string(body, '$.user_id') AS u FROM logs "
         f"WHERE namespace = 'shop' AND {is_json} GROUP BY u ORDER BY c DESC LIMIT 10", None),
    ]


def measure(all_of, port, pid, rounds):
    """Asks each statement five times a round; the lowest of the rounds' means."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    for query, sql, want in all_of:
        best, wall, rows = 1e9, 1e9, []
        for _ in range(rounds):
            cpu, began = cpu_seconds(pid), time.perf_counter()
            for _ in range(5):
                connection.request("POST", "/api/sql", json.dumps({"query": sql}), {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                rows = answer.get("rows", answer)
            best = min(best, (cpu_seconds(pid) - cpu) / 5 * 1e3)
            wall = min(wall, (time.perf_counter() - began) / 5 * 1e3)
        is_right = isinstance(rows, list) and rows and (want is None or rows[0]["c"] == want)
        print(f"{query:28} {'ok ' if is_right else 'BAD'} cpu {best:.1f} ms wall {wall:.1f} ms "
              f"{'' if is_right else str(rows)[:150]}", flush=True)


def main(statements):
    name, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    measure(statements(read_json(f"data/{name}.json")), port, pid, rounds)


if __name__ == "__main__":
    main(statements)
