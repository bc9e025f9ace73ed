#!/usr/bin/env python3
"""The lines of the harness's gen_logs.py made unkind: each has three words of random letters and a UUID more, which no line
says again. Takes its options; run it in the folder of the harness: python3 unkind_logs.py --lines 1000000 --out unkind
"""
import sys

sys.path.insert(0, ".")
import gen_logs  # noqa: E402

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def noise(d):
    words = " ".join("".join(d.pick(LETTERS) for _ in range(3 + d.i(8))) for _ in range(3))
    return f"{words} {d.hex(8)}-{d.hex(4)}-4{d.hex(3)}-a{d.hex(3)}-{d.hex(12)}"


def in_message(made):
    def line(d, *args):
        level, text, *rest = made(d, *args)
        return level, text.replace('"msg":"', f'"msg":"{noise(d)} ', 1), *rest
    return line


def behind(made):
    def line(d, *args):
        level, text, *rest = made(d, *args)
        head, *lines = text.split("\n")
        return level, "\n".join([f"{head} {noise(d)}", *lines]), *rest
    return line


gen_logs.json_line = in_message(gen_logs.json_line)
gen_logs.nginx_line, gen_logs.java_line, gen_logs.klog_line = map(
    behind, (gen_logs.nginx_line, gen_logs.java_line, gen_logs.klog_line))
gen_logs.main()
