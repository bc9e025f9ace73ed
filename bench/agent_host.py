#!/usr/bin/env python3
"""A node for the agent's benchmark, out of what was recorded of a real one (cgroup v2, two containers a pod).

  agent_host.py pods RECORDED [--pods 110] [--port 22910]   makes /tmp/agent-host (groups, log folders; /proc is this machine's)
                                                            and answers /pods as its kubelet until it is stopped
  agent_host.py lines TEXT [--lines 530465]                 makes /tmp/agent-logs with a container's file of so many lines
RECORDED is `../shared/kubernetes/kubelet-cgroup-v2`, TEXT a file of `gen_logs.py --formats text`.
"""
import argparse
import copy
import hashlib
import itertools
import json
import os
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POD = "bc9cf8ac60b99e98935556b80a496543"


def fresh(text):
    return hashlib.sha256(text.encode()).hexdigest()


def make_pods(recorded, count):
    shutil.rmtree("/tmp/agent-host", ignore_errors=True)
    groups = "/tmp/agent-host/sys/fs/cgroup"
    shutil.copytree(f"{recorded}/cg/sys/fs/cgroup", groups)
    for name in os.listdir("/sys"):
        if name != "fs":
            os.symlink(f"/sys/{name}", f"/tmp/agent-host/sys/{name}")
    os.symlink("/proc", "/tmp/agent-host/proc")
    with open(f"{recorded}/pods") as f:
        answer = json.load(f)
    pattern, slices = answer["items"][0], f"{groups}/kubepods/burstable"
    items, containers = [], [one for one in os.listdir(f"{slices}/pod{POD}") if len(one) == 64]
    for number in range(count):
        uid, pod = fresh(f"pod {number}")[:32], copy.deepcopy(pattern)
        text = json.dumps(pod).replace(POD, uid).replace("web-node1", f"web-{number}")
        shutil.copytree(f"{slices}/pod{POD}", f"{slices}/pod{uid}")
        for old in {*containers, *(s["containerID"][-64:] for s in pod["status"]["containerStatuses"])}:
            new = fresh(f"{number} {old}")
            text = text.replace(old, new)
            if os.path.isdir(f"{slices}/pod{uid}/{old}"):
                os.rename(f"{slices}/pod{uid}/{old}", f"{slices}/pod{uid}/{new}")
        pod = json.loads(text)
        for container in pod["spec"]["containers"]:
            folder = f"/tmp/agent-host/var/log/pods/{pod['metadata']['namespace']}_web-{number}_{uid}/{container['name']}"
            os.makedirs(folder)
            with open(f"{folder}/0.log", "w") as f:
                f.write("2026-01-01T00:00:00.1Z stdout F started\n")
        items.append(pod)
    shutil.rmtree(f"{slices}/pod{POD}")
    answer["items"] = items
    return json.dumps(answer).encode()


def serve(pods, port):
    class Kubelet(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = pods if self.path == "/pods" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Kubelet).serve_forever()


def make_lines(text, count):
    shutil.rmtree("/tmp/agent-logs", ignore_errors=True)
    folder = "/tmp/agent-logs/var/log/pods/shop_cart-0_0f8fad5b-d9cb-469f-a165-70867728950e/cart"
    os.makedirs(folder)
    with open(text) as f, open(f"{folder}/0.log", "w") as out:
        lines = [line.rstrip("\n") for line in f]
        for number, line in zip(range(count), itertools.cycle(lines)):
            at = f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{number % 10**9:09}Z"
            out.write(f"{at} {'stdout' if number % 10 else 'stderr'} F {line}\n")
    print(os.path.getsize(f"{folder}/0.log"), "bytes")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest="what", required=True)
    pods = sub.add_parser("pods")
    pods.add_argument("recorded")
    pods.add_argument("--pods", type=int, default=110)
    pods.add_argument("--port", type=int, default=22910)
    lines = sub.add_parser("lines")
    lines.add_argument("text")
    lines.add_argument("--lines", type=int, default=530_465)
    args = ap.parse_args()
    if args.what == "lines":
        return make_lines(args.text, args.lines)
    serve(make_pods(args.recorded, args.pods), args.port)


if __name__ == "__main__":
    main()
