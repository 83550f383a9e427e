#!/usr/bin/env python3
"""The demo: a real trace is billed, sent twice, and survives a kill. Fails loudly if a figure is wrong.

usage: demo.py PROGRAM [--dir DIR]
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRACE = os.path.join(ROOT, "data", "azure-llm-2023", "AzureLLMInferenceTrace_code.csv")
# The trace names no customers. Row n of it (from 1) is billed to ACCOUNTS[n mod 20].
ACCOUNTS = ("alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper", "katsura",
            "larch", "maple", "nutmeg", "oak", "pine", "quince", "rowan", "spruce", "tulip")
METERS = (("input_tokens", "ContextTokens", "in"), ("output_tokens", "GeneratedTokens", "out"))


def say(text):
    print(f"\n\033[1m== {text}\033[0m", flush=True)


def require(condition, message):
    if not condition:
        print(f"\nDEMO FAILED: {message}", flush=True)
        raise SystemExit(1)


def prepare(path):
    """Copies the trace with an ACCOUNT column; returns what each account owes: account -> [in, out]."""
    owed = {account: [0, 0] for account in ACCOUNTS}
    with open(TRACE, newline="", encoding="utf-8") as trace, open(path, "w", newline="", encoding="utf-8") as out:
        rows = csv.DictReader(trace)
        writer = csv.DictWriter(out, ["ACCOUNT", *rows.fieldnames])
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            account = ACCOUNTS[number % len(ACCOUNTS)]
            writer.writerow({"ACCOUNT": account, **row})
            for i, (_, column, _) in enumerate(METERS):
                owed[account][i] += int(row[column])
    return number, owed


class Server:
    def __init__(self, program, data, log):
        self.process = subprocess.Popen([program, "serve", "--data", data, "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline().strip()
        require(line.startswith("listening on http://"), f"the server did not start: {line!r}")
        self.url = line.removeprefix("listening on ")
        print(f"server {self.process.pid} listens on {self.url}, data in {os.path.relpath(data)}")

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait()


def ingest(program, url, path):
    """Sends the trace, one pass a meter; returns the summed counts."""
    total = {}
    for meter, column, suffix in METERS:
        command = [program, "ingest", path, "--csv", "--url", url, "--json", "--assume-utc",
                   "--id-format", f"trace-{{row}}-{suffix}", "--set", "product_id=inference",
                   "--set", f"meter_id={meter}", "--set", "unit=token", "--map", "account_id=ACCOUNT",
                   "--map", "timestamp_ms=TIMESTAMP", "--map", f"quantity={column}"]
        start = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        require(done.returncode == 0, f"ingest exited with {done.returncode}")
        counts = json.loads(done.stdout)
        print(f"{meter:<13} {counts['read']} events in {time.monotonic() - start:.2f} s: "
              f"{counts['accepted']} accepted, {counts['duplicates']} duplicates")
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def bills(url):
    """account -> [input, output], as the database answers."""
    out = {}
    for account in ACCOUNTS:
        query = urllib.parse.urlencode({"from": "2023-11-16T00:00:00Z", "to": "2023-11-17T00:00:00Z",
                                        "group_by": "meter_id"})
        with urllib.request.urlopen(f"{url}/v1/accounts/{account}/usage?{query}", timeout=60) as answer:
            lines = {line["meter_id"]: int(line["quantity"]) for line in json.load(answer)["lines"]}
        out[account] = [lines.get(meter, 0) for meter, _, _ in METERS]
    return out


def print_bills(bill):
    print(f"{'account':<10}{'input_tokens':>14}{'output_tokens':>15}")
    for account, (inputs, outputs) in bill.items():
        print(f"{account:<10}{inputs:>14,}{outputs:>15,}")
    print(f"{'total':<10}{sum(b[0] for b in bill.values()):>14,}{sum(b[1] for b in bill.values()):>15,}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "demo"))
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    shutil.rmtree(args.dir, ignore_errors=True)
    os.makedirs(args.dir)
    data, trace = os.path.join(args.dir, "data"), os.path.join(args.dir, "trace.csv")

    say("The trace: 8,819 requests to a language model (Azure, 16 November 2023), over twenty invented accounts")
    rows, owed = prepare(trace)
    events = 2 * rows
    totals = [sum(o[i] for o in owed.values()) for i in (0, 1)]
    print(f"{rows:,} rows, each of two events; the columns sum up to {totals[0]:,} and {totals[1]:,}")

    server = None
    with open(os.path.join(args.dir, "server.log"), "w", encoding="utf-8") as log:
        try:
            say("A server on an empty directory")
            server = Server(program, data, log)

            say("Ingest over HTTP")
            sent = ingest(program, server.url, trace)
            require(sent["accepted"] == events, f"{sent['accepted']} of {events} events were accepted")

            say("The bills")
            bill = bills(server.url)
            print_bills(bill)
            require(bill == owed, "the bills are not the sums of the trace's rows")
            print("Both totals and every bill equal the sums of the CSV's columns.")

            say("The whole trace again")
            sent = ingest(program, server.url, trace)
            require(sent["duplicates"] == events and sent["accepted"] == 0, "a resent event was not a duplicate")
            require(bills(server.url) == owed, "the bill moved")
            print(f"All {events:,} events were duplicates; no bill moved.")

            say("SIGKILL, and a new start")
            require(server.end(signal.SIGKILL) == -signal.SIGKILL, "the server had ended before the kill")
            start = time.monotonic()
            server = Server(program, data, log)
            print(f"back after {time.monotonic() - start:.2f} s")
            bill = bills(server.url)
            print_bills(bill)
            require(bill == owed, "the bills changed by the kill")
            print("The same bills.")

            say("An orderly stop, and a recount")
            require(server.end(signal.SIGTERM) == 0, "the stop was not orderly")
            verified = subprocess.run([program, "verify", "--data", data], check=False)
            require(verified.returncode == 0, "verify found a fault")
        finally:
            if server and server.process.poll() is None:
                server.end(signal.SIGKILL)

    shown = os.path.relpath(program)
    where = os.path.relpath(data)
    say("To go on by hand")
    print(f"{shown} serve --data {where} --listen 127.0.0.1:8080     # then, in another terminal:\n"
          f"{shown} usage maple --url http://127.0.0.1:8080 --group-by meter_id,hour_start_ms\n"
          f"{shown} events maple --url http://127.0.0.1:8080 --limit 5\n"
          f"{shown} --help")
    print("\nDEMO PASSED", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
