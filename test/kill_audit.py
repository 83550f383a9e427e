#!/usr/bin/env python3
"""Kills the real server with SIGKILL under load, again and again, and audits it.

usage: kill_audit.py PROGRAM [--kills N] [--seed S] [--dir DIR]

Four clients send batches over HTTP (new events, resends, conflicting copies); memtables are flushed every few
hundred milliseconds. At a random moment the process gets SIGKILL, and before the restart dedupe sidecars are
deleted, cut, garbled and exchanged at random: ingest then waits until they are rebuilt. After the restart everything whose answer never came is sent again, and a sample of
what was acknowledged: the latter must all be duplicates (lost = one that is accepted again). Then every
account's bill must equal the ledger's sum exactly (doubled = it is larger). The bill is also read as of an
LSN that was returned before the kill, which must give what it gave then.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

ACCOUNTS = 10
RANGE = "from=0&to=4102444800000"


class Server:
    """What it says on stderr is in `log`, beside the data."""

    latest = None

    def __init__(self, program, data, *options, log=None):
        self.log = log or f"{os.path.normpath(data)}.stderr"
        self.killed = False
        Server.latest = self
        with open(self.log, "ab") as stderr:
            self.process = subprocess.Popen(
                [program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--memtable-age-ms-max", "200",
                 "--flush-on-close-ms-max", random.choice(["0", "3000"]), *options],
                stdout=subprocess.PIPE, stderr=stderr, text=True)
        line = self.process.stdout.readline()
        if "listening on http://" not in line:
            raise SystemExit(f"the server did not start: {line!r}, exit {self.process.wait()}\n{self.tail()}")
        self.port = int(line.strip().rsplit(":", 1)[1])

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return f"the end of {self.log}:\n{log.read()[-4000:]}"

    def check_alive(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the server had ended by itself: exit {self.process.returncode}\n{self.tail()}")

    def kill(self):
        if self.killed:
            return
        self.check_alive()
        self.killed = True
        self.process.send_signal(signal.SIGKILL)
        # It may have been on its way down already.
        if self.process.wait() != -signal.SIGKILL:
            raise SystemExit(f"the server ended by itself: exit {self.process.returncode}\n{self.tail()}")

    def stop(self):
        self.check_alive()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


def request(connection, method, path, body=None):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


class Ledger:
    """What was said. An event is `acked` or `maybe`; its quantity is a function of its number."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next = 0
        self.acked = []
        self.maybe = set()
        self.conflicts_sent = 0

    def new_events(self, count):
        with self.lock:
            first = self.next
            self.next += count
            numbers = list(range(first, first + count))
            self.maybe.update(numbers)
        return numbers

    def acknowledge(self, numbers):
        with self.lock:
            for number in numbers:
                if number in self.maybe:
                    self.maybe.discard(number)
                    self.acked.append(number)

    def sample(self, rng, count):
        with self.lock:
            return [rng.choice(self.acked) for _ in range(count)] if self.acked else []


def event(number, conflicting=False):
    quantity = number % 997 + (1000 if conflicting else 0)
    return {"event_id": f"event-{number}", "account_id": f"account-{number % ACCOUNTS}",
            "product_id": "inference", "meter_id": "tokens" if number % 3 else "seconds",
            "timestamp_ms": 1700000000000 + number, "quantity": f"{quantity}.{number % 10}5",
            "unit": "t", "dimensions": {"region": "eu"}}


def hundredths(number):
    return (number % 997) * 100 + (number % 10) * 10 + 5


def send(connection, numbers, conflicting=()):
    body = json.dumps({"events": [event(n) for n in numbers] + [event(n, True) for n in conflicting]})
    return request(connection, "POST", "/v1/usage/batch", body)


def send_until_taken(connection, numbers):
    """Sends until it is not refused. It is up to the caller that a refusal ends."""
    while True:
        status, answer = send(connection, numbers)
        if status != 503:
            return status, answer
        if answer["code"] not in ("dedupe_rebuilding", "memory_full", "log_unavailable", "queue_full",
                                  "compaction_behind"):
            raise SystemExit(f"refused: {answer}")
        time.sleep(0.01)


def damage_sidecars(data, rng, at_least_one=False):
    """What a bad disk or a careless hand does to sidecars and rollups. Returns how many were damaged."""
    folder = os.path.join(data, "segments")
    names = sorted(name for name in os.listdir(folder) if name.endswith((".idx", ".sum")))
    chosen = [name for name in names if rng.random() >= 0.6]
    if at_least_one and names and not chosen:
        chosen = [rng.choice(names)]
    for name in chosen:
        path = os.path.join(folder, name)
        # A kill while the file was written may have left it empty.
        kind = rng.randrange(4) if os.path.getsize(path) > 0 else rng.choice((0, 3))
        if kind == 0:
            os.remove(path)
        elif kind == 1:
            os.truncate(path, rng.randrange(os.path.getsize(path)))
        elif kind == 2:
            with open(path, "r+b") as file:
                file.seek(rng.randrange(os.path.getsize(path)))
                at = file.tell()
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ (1 << rng.randrange(8))]))
        else:
            other = os.path.join(folder, rng.choice(names))
            if os.path.exists(other):
                shutil.copyfile(other, path + ".tmp")
                os.replace(path + ".tmp", path)
    return len(chosen)


def client(port, ledger, seed, stop, faults):
    rng = random.Random(seed)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not stop.is_set():
            numbers = ledger.new_events(rng.choice([1, 1, 5, 50, 200]))
            again = ledger.sample(rng, rng.choice([0, 0, 3, 20]))
            wrong = ledger.sample(rng, rng.choice([0, 0, 0, 2]))
            status, answer = send(connection, numbers + again, wrong)
            if status == 503:
                continue
            if status != 200:
                faults.append(f"status {status}: {answer}")
                return
            if answer["accepted"] != len(numbers) or answer["duplicates"] != len(again):
                faults.append(f"sent {len(numbers)} new, {len(again)} known: {answer['accepted']} accepted,"
                              f" {answer['duplicates']} duplicates, {answer['rejected']} rejected")
                return
            ledger.acknowledge(numbers)
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        pass  # the kill
    except Exception as error:
        faults.append(f"a client ended: {type(error).__name__}: {error}")


def bill(connection, account, as_of=None):
    suffix = f"&as_of_lsn={as_of}" if as_of is not None else ""
    status, answer = request(connection, "GET", f"/v1/accounts/{account}/usage?{RANGE}{suffix}")
    if status != 200:
        raise SystemExit(f"usage of {account}: {status} {answer}")
    line = answer["lines"][0]
    return line["quantity"], line["count"], answer["lsn"]


def to_hundredths(text):
    whole, _, fraction = text.partition(".")
    return int(whole) * 100 + int((fraction + "00")[:2])


def audit(connection, ledger):
    lost = doubled = 0
    expected = [0] * ACCOUNTS
    counts = [0] * ACCOUNTS
    for number in ledger.acked:
        expected[number % ACCOUNTS] += hundredths(number)
        counts[number % ACCOUNTS] += 1
    for i in range(ACCOUNTS):
        quantity, count, _ = bill(connection, f"account-{i}")
        if count < counts[i]:
            lost += counts[i] - count
        elif count > counts[i]:
            doubled += count - counts[i]
        elif to_hundredths(quantity) != expected[i]:
            raise SystemExit(f"account-{i}: {quantity}, the ledger says {expected[i] / 100}")
    return lost, doubled


def resend(connection, ledger, rng):
    """Everything unanswered, and a sample of what was acknowledged. Returns how many of it were lost."""
    lost = 0
    pending = sorted(ledger.maybe)
    for i in range(0, len(pending), 500):
        status, answer = send_until_taken(connection, pending[i:i + 500])
        if status != 200 or answer["accepted"] + answer["duplicates"] != len(pending[i:i + 500]):
            raise SystemExit(f"resend: {status} {answer}")
        ledger.acknowledge(pending[i:i + 500])
    newest = ledger.acked[-2000:] + ledger.sample(rng, 500)
    for i in range(0, len(newest), 500):
        status, answer = send_until_taken(connection, newest[i:i + 500])
        if status != 200:
            raise SystemExit(f"resend: {status} {answer}")
        lost += len(newest[i:i + 500]) - answer["duplicates"]
    return lost


def check_that_a_crash_is_seen(program, directory):
    """Of a server that ended before it was to be killed."""
    server = Server(program, directory)
    server.process.terminate()
    server.process.wait()
    try:
        server.kill()
    except SystemExit:
        return
    raise SystemExit("a server that had ended by itself was killed as if it were alive")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", default="kill-audit-data")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    shutil.rmtree(args.dir, ignore_errors=True)
    check_that_a_crash_is_seen(args.program, args.dir)
    shutil.rmtree(args.dir, ignore_errors=True)
    os.remove(f"{os.path.normpath(args.dir)}.stderr")
    ledger, faults, past = Ledger(), [], None
    lost = doubled = damaged = segments = 0
    for kill in range(10 * args.kills):
        server = Server(args.program, args.dir, "--compaction-fan-in", "3")
        stop = threading.Event()
        clients = [threading.Thread(target=client, args=(server.port, ledger, rng.random(), stop, faults))
                   for _ in range(4)]
        for thread in clients:
            thread.start()
        time.sleep(rng.uniform(0.02, 0.4))
        try:
            server.kill()
        finally:
            stop.set()
            for thread in clients:
                thread.join()
        if damaged == 0 or rng.random() < 0.7:
            damaged += damage_sidecars(args.dir, rng, at_least_one=damaged == 0)

        server = Server(args.program, args.dir, "--compaction-fan-in", "3")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        if past is not None and bill(connection, "account-1", past[2]) != past:
            raise SystemExit(f"kill {kill}: as of LSN {past[2]} the bill is no longer {past}")
        lost += resend(connection, ledger, rng)
        more_lost, more_doubled = audit(connection, ledger)
        lost += more_lost
        doubled += more_doubled
        past = bill(connection, "account-1")
        segments = max(segments, request(connection, "GET", "/v1/status")[1]["segments"]["count"])
        if rng.random() < 0.5:
            server.kill()
        elif server.stop() != 0:
            faults.append("an orderly stop did not exit 0")
        tried_all = kill + 1 >= args.kills and damaged > 0 and segments > 0
        if faults or lost or doubled or tried_all:
            break
    for fault in faults:
        print(f"fault: {fault}")
    print(f"kill_audit seed={args.seed} kills={kill + 1} events={len(ledger.acked)} segments={segments} "
          f"sidecars_damaged={damaged} lost={lost} doubled={doubled}")
    tried = os.environ.get("TALLY_TRIED_FILE")
    if tried:
        with open(tried, "a", encoding="utf-8") as out:
            out.write(f"kills kills={kill + 1} events={len(ledger.acked)} segments={segments} "
                      f"sidecars_damaged={damaged} lost={lost} doubled={doubled}\n")
    if faults or lost or doubled or not ledger.acked or not segments:
        print(server.tail())
        print(f"rerun: {' '.join(sys.argv)}")
        return 1
    shutil.rmtree(args.dir, ignore_errors=True)
    os.remove(server.log)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, http.client.HTTPException):
        print(Server.latest.tail() if Server.latest else "no server was started")
        raise
