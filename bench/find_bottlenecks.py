#!/usr/bin/env python3
"""What /api/bottlenecks and /api/compare say of traffic with one slow thing in it, at several places, sizes and shares, and
of the same traffic without it. Each case is a tenant of its own: find_bottlenecks.py HTTP-PORT OTLP-HTTP-PORT [REQUESTS]

A request goes frontend, gateway, checkout; checkout asks stock and price at the same time and then ledger; ledger waits for
its pool; checkout sends a message that mailer takes later, and begins an audit that it does not wait for.
"""
import http.client
import json
import random
import sys
import time
import urllib.parse

# name, (service, operation) that is slow, ms, share, clock of `ledger` and `stock` off by ms, who is asked for, and what is
# wrong with what is sent: LOST loses some spans, SERVERS leaves none of calls, only of those who serve them.
LOST, SERVERS = "lost", "servers"
CASES = [
    ("nothing", None, 0, 0, 0, ""),
    ("nothing, clocks off", None, 0, 0, 400, ""),
    ("pool 300 ms at 15 %", ("ledger", "pool.acquire"), 300, 0.15, 0, ""),
    ("pool 200 ms at 8 %", ("ledger", "pool.acquire"), 200, 0.08, 0, ""),
    ("pool 200 ms at 8 %, clocks off", ("ledger", "pool.acquire"), 200, 0.08, -700, ""),
    ("pool 30 ms at 30 %", ("ledger", "pool.acquire"), 30, 0.3, 0, ""),
    ("a leaf, 800 ms at 3 %", ("stock", "GET /stock"), 800, 0.03, 0, ""),
    ("a leaf, 800 ms at 3 %, clocks off", ("stock", "GET /stock"), 800, 0.03, 250, ""),
    ("a statement, 120 ms at 5 %", ("ledger", "SELECT ledger"), 120, 0.05, 0, ""),
    ("the gateway itself, 90 ms at 10 %", ("gateway", "POST /orders"), 90, 0.1, 0, ""),
    ("who takes messages, 200 ms at 8 %", ("mailer", "process mail"), 200, 0.08, 0, ""),
    ("who takes messages, asked for", ("mailer", "process mail"), 200, 0.08, 0, "mailer"),
    ("an audit that nobody waits for", ("audit", "write"), 500, 0.2, 0, "none"),
    ("nothing, spans lost", None, 0, 0, 0, "", LOST),
    ("pool 300 ms at 15 %, spans lost", ("ledger", "pool.acquire"), 300, 0.15, 0, "", LOST),
    ("nothing, clocks off, servers alone", None, 0, 0, 200, "", SERVERS),
    ("pool 300 ms at 15 %, clocks off, servers alone", ("ledger", "pool.acquire"), 300, 0.15, 200, "", SERVERS),
    ("a leaf, 1 s at 2 %, clocks off, servers alone", ("stock", "GET /stock"), 1000, 0.02, -200, "", SERVERS),
    ("checkout itself, 60 %, with an audit beside", ("checkout", "POST /checkout"), 300, 0.6, 0, ""),
]
LOST_SHARE = 0.03
SERVICES = ["frontend", "gateway", "checkout", "stock", "price", "ledger", "mailer", "audit"]
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5


class Request:
    def __init__(self, rng, start_ns, case):
        self.rng, self.start_ns, self.trace = rng, start_ns, rng.randbytes(16).hex()
        (_, self.slow, self.ms, self.share, self.skew, _), self.spans, self.is_slow = case[:6], {}, False
        self.how = case[6:]

    def work(self, service, name, ms):
        took = ms * (0.7 + 0.5 * self.rng.random() + self.rng.random() ** 8)
        if self.slow == (service, name) and self.rng.random() < self.share:
            self.is_slow = True
            took += self.ms * (0.9 + 0.2 * self.rng.random())
        return took

    def span(self, service, name, kind, parent, at, end, span_id=None, attributes=()):
        span_id = span_id or self.id()
        if LOST in self.how and parent and self.rng.random() < LOST_SHARE:
            return span_id
        skew = self.skew if service in ("ledger", "stock") else 0
        ns = lambda ms: str(self.start_ns + int((ms + skew) * 1e6))  # noqa: E731
        self.spans.setdefault(service, []).append({
            "traceId": self.trace, "spanId": span_id, "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": ns(at), "endTimeUnixNano": ns(end),
            "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes]})
        return span_id

    def id(self):
        return self.rng.randbytes(8).hex()

    def ask(self, service, to, name, parent, at, inside):
        """A client's span and the server's below it; `inside` gets the server's id and start, and says when it ended."""
        client, server = self.id(), self.id()
        began = at + 0.3
        end = inside(server, began)
        if SERVERS in self.how:
            self.span(to, name, SERVER, parent, began, end, server)
            return end + 0.3
        self.span(to, name, SERVER, client, began, end, server)
        self.span(service, "ask " + to, CLIENT, parent, at, end + 0.3, client)
        return end + 0.3

    def ledger(self, me, at):
        got = at + 0.2 + self.work("ledger", "pool.acquire", 0.2)
        waited = got - at > 20
        self.span("ledger", "pool.acquire", INTERNAL, me, at + 0.2, got,
                  attributes=[("pool.exhausted", str(waited).lower())])
        end = got + self.work("ledger", "SELECT ledger", 3)
        self.span("ledger", "SELECT ledger", CLIENT, me, got, end)
        return end + self.work("ledger", "POST /book", 1)

    def checkout(self, me, at):
        at += self.work("checkout", "POST /checkout", 4)
        plain = lambda service, name, ms: lambda _, began: began + self.work(service, name, ms)  # noqa: E731
        ends = [self.ask("checkout", "stock", "GET /stock", me, at, plain("stock", "GET /stock", 6)),
                self.ask("checkout", "price", "GET /price", me, at + 0.1, plain("price", "GET /price", 9))]
        at = max(ends) + 0.2
        at = self.ask("checkout", "ledger", "POST /book", me, at, self.ledger)
        sent = self.span("checkout", "send mail", PRODUCER, me, at, at + 0.5)
        later = at + self.rng.uniform(5, 50)
        self.span("mailer", "process mail", CONSUMER, sent, later, later + self.work("mailer", "process mail", 12))
        self.span("audit", "write", INTERNAL, me, at + 0.2, at + self.work("audit", "write", 40))
        return at + 1

    def run(self):
        entry, gateway = self.id(), self.id()
        at = self.work("frontend", "POST /orders", 2)
        began = at
        at += self.work("gateway", "POST /orders", 2)
        at = self.ask("gateway", "checkout", "POST /checkout", gateway, at, self.checkout)
        self.span("gateway", "POST /orders", SERVER, entry, began, at + 0.2, gateway)
        self.span("frontend", "POST /orders", SERVER, "", 0, at + 1, entry)
        return self


def post(port, path, tenant, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "X-Scope-OrgID": tenant})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"{answer.status} {text[:300]}")


def get(port, path, tenant, **query):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers={"X-Scope-OrgID": tenant})
    answer = connection.getresponse()
    return json.loads(answer.read())


def main():
    port, otlp = int(sys.argv[1]), int(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2_000
    end_ns = time.time_ns() - 60 * 10**9
    right = 0
    for number, case in enumerate(CASES):
        name, slow, ms, share, _, asked = case[:6]
        rng, tenant = random.Random(number), f"case-{number}-{int(time.time())}"
        requests = [Request(rng, end_ns - (count - at) * 500_000_000, case).run() for at in range(count)]
        for at in range(0, count, 200):
            by_service = {service: [] for service in SERVICES}
            for request in requests[at:at + 200]:
                for service, spans in request.spans.items():
                    by_service[service] += spans
            post(otlp, "/v1/traces", tenant, {"resourceSpans": [
                {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                 "scopeSpans": [{"spans": spans}]} for service, spans in by_service.items() if spans]})
        span = {"start": str(end_ns - count * 500_000_000 - 10**9), "end": str(end_ns + 10**9)}
        service = {"service": asked} if asked not in ("", "none") else {}
        found = get(port, "/api/bottlenecks", tenant, **span, **service)["bottlenecks"]
        told = [(f["service"], f["operation"]) for f in found]
        wanted = [] if slow is None or asked == "none" else [slow]
        ok = told == wanted
        note = ""
        if wanted and told[:1] == wanted:
            was = sum(request.is_slow for request in requests) / count
            adds, of = found[0]["adds_ms"], found[0]["share_of_requests"]
            ok &= abs(adds / ms - 1) < 0.1 and abs(of / was - 1) < 0.1
            note = f"+{adds:.1f} ms of {ms}, {of:.1%} of {was:.1%}"
        right += ok
        print(f"{'ok ' if ok else 'BAD'} {name:48} {note or told}", flush=True)
        if slow == ("ledger", "pool.acquire"):
            least = 25 + ms / 2
            compared = get(port, "/api/compare", tenant, selection=f"{{ kind = server && duration > {least}ms }}",
                           baseline="{ name = \"POST /orders\" }", **span)
            for one in compared["differences"][:4]:
                print(f"      {one['attribute']} = {one['value']}: {one['selection_count']} of {compared['selection']} against "
                      f"{one['baseline_count']} of {compared['baseline']}, {one['score']:.2f}")
    print(f"{right} of {len(CASES)}")


main()
