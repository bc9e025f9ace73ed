#!/usr/bin/env python3
"""SQL over the harness's spans, asked of a running binnacle: CPU ms a query, the lowest of some rounds. The statements say what
those of the harness's sql_bench.py say. Run it in the folder of the harness, with the spans ingested, flushed and compacted:
  python3 sql_spans.py traces-20000 HTTP-PORT PID [ROUNDS]
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sql_logs import main  # noqa: E402


def statements(m):
    """[(name, SQL, expected first value or None)]"""
    return [
        ("trace by id", f"SELECT count(*) AS c FROM spans WHERE trace_id = '{m['watched']['id']}'", m["watched"]["spans"]),
        ("slow pool wait", "SELECT count(*) AS c FROM spans WHERE service = 'ledger' AND name = 'pool.acquire' "
         "AND duration_ns > 250000000", m["expect"]["slow_orders"]),
        ("p99 by service and name", "SELECT service, name, approx_percentile_cont(duration_ns, 0.99) AS q FROM spans "
         "GROUP BY service, name ORDER BY q DESC", None),
        ("user attribute", "SELECT count(DISTINCT trace_id) AS c FROM spans "
         f"WHERE attributes['user.id'] = '{m['watched']['user']}'", None),
        ("service map join", "SELECT p.service AS a, c.service AS b, count(*) AS n FROM spans c JOIN spans p "
         "ON c.parent_span_id = p.span_id WHERE c.kind = 'server' GROUP BY a, b ORDER BY a, b", None),
    ]


if __name__ == "__main__":
    main(statements)
