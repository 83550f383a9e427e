#!/usr/bin/env python3
"""Runs the whole engine for an hour or so, in simulation and for real, and sums up.

usage: soak.py PROGRAM TEST_BUILD [--minutes N] [--seed S] [--dir DIR]

Two lanes run beside each other until the time is over:

- simulation: the test programs of crashes, faults, full disks, bit rot, scrubs and random lives, in slices, each
  with seeds of its own. With 30 minutes and more they run at soak size, else quick.
- processes: a real server under load over HTTP from several clients, memtables flushed several times a second.
  SIGKILL at random moments; between two lives sidecars and rollups are deleted, cut, garbled and exchanged; on a small
  file system of its own the disk fills up, and is killed while full. After each life everything unanswered is sent again,
  what was acknowledged must all be known, and each account's bill must be the ledger's sum exactly. An epoch begins with an
  empty directory and ends with `tallystick verify` and `tallystick scrub`.

The small file system is a tmpfs. Mounting one needs root, or a kernel that lets a user have a namespace; where
neither works, the full disk is left out and the summary says so. Exit code 1 on any loss, double count or other fault, and where
something of all this never happened; what is wrong is then left in DIR.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "test"))
import kill_audit as audit  # noqa: E402

SMALL_BYTES = 448 << 20
OPTIONS = ["--wal-file-bytes", str(17 << 20), "--mark-idle-ms", "5", "--scrub-interval-s", "5",
           "--scrub-bytes-per-second", "20000000", "--compaction-fan-in", "4"]
CLIENTS = 4
BATCH_MAX = 500
NAMESPACE = "TALLY_SOAK_IN_NAMESPACE"
SLICES = ("bit_rot_test", "disk_full_test", "scrub_test", "crash_matrix_test", "sidecar_faults_test", "faults_test",
          "metamorphic_test", "reading_test", "threads_test", "compaction_test", "backup_test", "repair_test")


class Fault(Exception):
    """A promise was broken."""


# --- simulation ---

class Simulations(threading.Thread):
    def __init__(self, build, minutes, seed, out):
        super().__init__()
        self.build, self.seed, self.out = build, seed, out
        self.effort = "TALLY_SOAK" if minutes >= 30 else "TALLY_QUICK"
        self.deadline = time.monotonic() + minutes * 60
        self.counts = collections.defaultdict(collections.Counter)
        self.slices = self.cut = 0
        self.faults = []

    def programs(self):
        while True:
            for name in SLICES:
                yield "simulation_test"
                yield name

    def run(self):
        try:
            for name in self.programs():
                if time.monotonic() >= self.deadline or self.faults:
                    return
                self.slice(name)
        except Exception as error:
            self.faults.append(f"the simulations ended: {type(error).__name__}: {error}")

    def slice(self, name):
        tried = os.path.join(self.out, "tried.txt")
        open(tried, "w", encoding="utf-8").close()
        # A simulation at soak size would outlast its slice: rather more slices of the usual size.
        effort = {self.effort: "1"} if name != "simulation_test" or self.effort == "TALLY_QUICK" else {}
        self.seed += 100_000
        environment = dict(os.environ, TALLY_FIRST_SEED=str(self.seed), TALLY_TRIED_FILE=tried, **effort)
        log = os.path.join(self.out, f"{name}.log")
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen([os.path.join(self.build, "test", name), "--gtest_brief=1"], stdout=output,
                                       stderr=subprocess.STDOUT, env=environment)
            while process.poll() is None and time.monotonic() < self.deadline:  # which a fault elsewhere brings forward
                time.sleep(0.1)
            if process.poll() is not None:
                self.slices += 1
            else:
                process.kill()
                process.wait()
                self.cut += 1
        with open(log, encoding="utf-8", errors="replace") as output:
            text = output.read()
        cut = process.returncode < 0 and time.monotonic() >= self.deadline
        if ": Failure" in text or (process.returncode != 0 and not cut):
            self.faults.append(f"{name} with TALLY_FIRST_SEED={self.seed} {effort}: exit {process.returncode}, see {log}")
        if process.returncode == 0 and not re.search(r"\[  PASSED  \] [1-9]", text):
            self.faults.append(f"{name} ran no test, see {log}")
        with open(tried, encoding="utf-8") as lines:
            for line in lines:
                for key, value in re.findall(r"(\w+)=(\d+)\b", line):
                    self.counts[line.split()[0]][key] += int(value)


# --- processes ---

class Clients:
    def __init__(self, port, ledger, seed, faults):
        self.stop_now = threading.Event()
        self.refused = collections.Counter()  # 503 by code
        self.threads = [threading.Thread(target=self.run, args=(port, ledger, random.Random(seed + i), faults))
                        for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, port, ledger, rng, faults):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            while not self.stop_now.is_set():
                numbers = ledger.new_events(rng.choice([1, 5, 50, 200, BATCH_MAX]))
                again = ledger.sample(rng, rng.choice([0, 0, 3, 20]))
                wrong = ledger.sample(rng, rng.choice([0, 0, 0, 2]))
                while not self.stop_now.is_set():
                    status, answer = audit.send(connection, numbers + again, wrong)
                    if status != 503:
                        break
                    self.refused[answer["code"]] += 1
                    self.stop_now.wait(0.02)
                else:
                    return
                # Of what was refused some may be stored nevertheless.
                if status != 200 or answer["accepted"] + answer["duplicates"] != len(numbers) + len(again):
                    faults.append(f"sent {len(numbers)} new and {len(again)} known: {status} {answer}"[:500])
                    return
                if answer["duplicates"] < len(again):
                    faults.append(f"of {len(again)} acknowledged events {answer['duplicates']} were known")
                    return
                ledger.acknowledge(numbers)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # the kill
        except Exception as error:
            faults.append(f"a client ended: {type(error).__name__}: {error}")

    def stop(self):
        self.stop_now.set()
        for thread in self.threads:
            thread.join()


def number_of(status, section, *names):
    return next((int(status[section][name]) for name in names if name in status.get(section, {})), 0)


class Processes:
    # What a run of five minutes does always, and what any run does.
    ALWAYS_SHORT = ("epochs", "kills", "recoveries", "events", "audits", "verified", "scrubbed")
    ALWAYS = ("epochs", "kills", "recoveries", "events", "audits", "flushes", "compactions", "siblings_damaged", "rebuilt",
              "scrub_passes", "verified", "scrubbed")
    ALWAYS_ON_SMALL = ("disk_full_phases", "no_space_answers", "healed")

    def __init__(self, program, directory, small, seed, out):
        self.program, self.small = program, small
        # Not on the disk that fills up.
        self.log = os.path.join(out, "server.stderr")
        self.elsewhere = []  # faults of the other lane
        # Siblings were damaged on purpose, and not all of it is known to be repaired.
        self.siblings_bad = False
        self.data = os.path.join(directory, "data")
        self.ballast = os.path.join(directory, "ballast")
        self.rng = random.Random(seed)
        self.counts = collections.Counter()
        self.ledger, self.faults, self.past = audit.Ledger(), [], None

    def start(self):
        server = audit.Server(self.program, self.data, *OPTIONS, log=self.log)
        self.counts["recoveries"] += 1
        return server, http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)

    def epoch(self, deadline):
        shutil.rmtree(self.data, ignore_errors=True)
        if os.path.exists(self.log):
            os.remove(self.log)
        self.ledger, self.past, self.siblings_bad = audit.Ledger(), None, False
        self.counts["epochs"] += 1
        end = min(deadline, time.monotonic() + 180)
        segments = 0
        try:
            while segments < 400 and len(self.ledger.acked) < 400_000:
                segments = self.life()
                if time.monotonic() >= end or self.elsewhere:
                    break
        finally:
            self.counts["events"] += len(self.ledger.acked)
        self.heal()
        self.finish()

    def life(self):
        server, connection = self.start()
        clients = Clients(server.port, self.ledger, self.rng.randrange(1 << 30), self.faults)
        try:
            if self.small and (self.rng.random() < 0.2 or self.is_late_for_a_full_disk()):
                server, connection, clients = self.fill_disk(server, connection, clients)
            time.sleep(self.rng.choice([self.rng.uniform(0.02, 0.5), self.rng.uniform(0.5, 4)]))
            audit.Server.latest.kill()
            self.counts["kills"] += 1
        finally:
            audit.Server.latest.process.kill()
            clients.stop()
        if self.rng.random() < 0.6 or not self.counts["siblings_damaged"]:
            damaged = audit.damage_sidecars(self.data, self.rng)
            self.counts["siblings_damaged"] += damaged
            self.siblings_bad = self.siblings_bad or damaged > 0
        server, connection = self.start()
        segments = self.audit(connection)
        self.end(server, orderly=self.rng.random() < 0.4)
        return segments

    def end(self, server, orderly):
        if not orderly:
            server.kill()
            self.counts["kills"] += 1
        elif server.stop() != 0:
            raise Fault("an orderly stop did not exit 0")
        else:
            self.counts["stops"] += 1

    def audit(self, connection):
        if self.faults:
            raise Fault(self.faults[0])
        if self.past is not None and audit.bill(connection, "account-1", self.past[2]) != self.past:
            raise Fault(f"as of LSN {self.past[2]} the bill is no longer {self.past}")
        self.counts["lost"] += audit.resend(connection, self.ledger, self.rng)
        lost, doubled = audit.audit(connection, self.ledger)
        self.counts["lost"] += lost
        self.counts["doubled"] += doubled
        self.counts["audits"] += 1
        self.past = audit.bill(connection, "account-1")
        status = self.count(connection)
        if self.counts["lost"] or self.counts["doubled"]:
            raise Fault("events were lost, or counted twice")
        return status["segments"]["count"]

    def count(self, connection):
        """Adds up what this life has done, which is asked once. Returns the status."""
        status = audit.request(connection, "GET", "/v1/status")[1]
        self.counts["flushes"] += number_of(status, "flush", "flushes")
        self.counts["compactions"] += number_of(status, "compaction", "compactions")
        self.counts["rebuilt"] += number_of(status, "sidecars", "rebuilt") + number_of(status, "rollups", "rebuilt")
        self.counts["scrub_passes"] += status["scrub"]["passes"]
        for finding in status["scrub"]["findings"]:
            self.counts["scrub_findings"] += 1
            if not self.siblings_bad or not finding["file"].endswith((".idx", ".sum")):
                raise Fault(f"scrub: {finding}")
        if self.is_healed(status):
            self.siblings_bad = False
        return status

    @staticmethod
    def is_healed(status):
        """What was damaged before this life was found, by the start or by a pass, and is rebuilt."""
        return (status["scrub"]["passes"] > 0 and status["sidecars"]["unknown"] == 0 and
                status["rollups"]["count"] == status["segments"]["count"])

    # --- a full disk ---

    def fill(self):
        with open(self.ballast, "ab", buffering=0) as out:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        out.write(b"\0" * size)
                except OSError:
                    pass

    def is_late_for_a_full_disk(self):
        return self.counts["kills"] > 5 and self.counts["disk_full_phases"] == 0

    def ready(self, connection):
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        body = answer.read()
        return "" if answer.status == 200 else json.loads(body)["code"]

    def fill_disk(self, server, connection, clients):
        """Fills the disk under load until events are refused, reads, now and then kills, gives the room back."""
        self.counts["disk_full_phases"] += 1
        waiting = time.monotonic()
        while clients.refused["no_space"] == 0:
            self.fill()  # what the server freed meanwhile too
            time.sleep(0.05)
            if not any(thread.is_alive() for thread in clients.threads):
                raise Fault(f"the clients ended on a full disk: {self.faults}")
            if time.monotonic() - waiting > 120:
                status = audit.request(connection, "GET", "/v1/status")[1]
                raise Fault(f"a full disk takes events without end, or refuses them otherwise: {clients.refused}, {status}")
        self.counts["no_space_answers"] += clients.refused["no_space"]
        clients.stop()
        unserved = 0
        if self.rng.random() < 0.4:
            server.kill()
            self.counts["kills"] += 1
            server, connection = self.start()
            self.counts["starts_on_a_full_disk"] += 1
            # Until there is a log to write it to again, the last frame is not served.
            unserved = CLIENTS * BATCH_MAX
        self.check_bills_between(connection, unserved)
        os.remove(self.ballast)
        waiting = time.monotonic()
        while self.ready(connection):
            time.sleep(0.05)
            if time.monotonic() - waiting > 120:
                raise Fault(f"with room again it still answers {self.ready(connection)}")
        self.counts["healed"] += 1
        self.check_bills_between(connection)
        return server, connection, Clients(server.port, self.ledger, self.rng.randrange(1 << 30), self.faults)

    def check_bills_between(self, connection, unserved=0):
        """Each bill is that of all acknowledged events, but for so many in all, and of some that nobody knows of."""
        acked, maybe = [0] * audit.ACCOUNTS, [0] * audit.ACCOUNTS
        for number in self.ledger.acked:
            acked[number % audit.ACCOUNTS] += 1
        for number in self.ledger.maybe:
            maybe[number % audit.ACCOUNTS] += 1
        for i in range(audit.ACCOUNTS):
            if acked[i] + maybe[i] == 0:
                continue
            _, count, _ = audit.bill(connection, f"account-{i}")
            unserved -= max(0, acked[i] - count)
            if unserved < 0 or count > acked[i] + maybe[i]:
                raise Fault(f"on a full disk account-{i} has {count} events; {acked[i]} were acknowledged, "
                            f"{maybe[i]} may be there")

    # --- the end of an epoch ---

    def heal(self):
        """One more life, which ends when all that is there has been read, and everything is rebuilt."""
        server, connection = self.start()
        waiting = time.monotonic()
        while not self.is_healed(status := audit.request(connection, "GET", "/v1/status")[1]):
            server.check_alive()
            if time.monotonic() - waiting > 300:
                raise Fault(f"the siblings are not rebuilt: {status['sidecars']}, {status['rollups']}, {status['scrub']}")
            time.sleep(0.1)
        self.count(connection)
        self.end(server, orderly=True)

    def never(self, minutes):
        """What was to be tried and was not."""
        names = self.ALWAYS_SHORT if minutes < 5 else self.ALWAYS + (self.ALWAYS_ON_SMALL if self.small else ())
        return [name for name in names if self.counts[name] == 0]

    def finish(self):
        for command, count in (("verify", "verified"), ("scrub", "scrubbed")):
            done = subprocess.run([self.program, command, "--data", self.data], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 0:
                raise Fault(f"tallystick {command}: exit {done.returncode}\n{done.stdout[-2000:]}")
            self.counts[count] += 1


# --- the small file system ---

def mount_small(directory):
    os.makedirs(directory, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tallystick-soak", directory]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def enter_namespace():
    """Where a user may have a mount namespace, runs all of this in one."""
    if os.environ.get(NAMESPACE) or os.geteuid() == 0 or not shutil.which("unshare"):
        return
    if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ[NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])


def summary(minutes, seed, small, simulations, processes):
    lines = [f"soak: {minutes:g} minutes, seed {seed}"]
    lines.append(f"  simulation: {simulations.slices} slices, {simulations.cut} cut off by the end")
    for layer, counts in sorted(simulations.counts.items()):
        lines.append(f"    {layer}: " + " ".join(f"{k}={v}" for k, v in counts.items() if k != "seed"))
    names = ("epochs", "kills", "stops", "recoveries", "events", "lost", "doubled", "audits", "flushes",
             "compactions", "siblings_damaged", "rebuilt", "scrub_passes", "scrub_findings", "verified", "scrubbed")
    lines.append("  processes: " + " ".join(f"{name}={processes.counts[name]}" for name in names))
    if small:
        names = ("disk_full_phases", "no_space_answers", "starts_on_a_full_disk", "healed")
        lines.append("  full disk: " + " ".join(f"{name}={processes.counts[name]}" for name in names))
    else:
        lines.append("  full disk: left out, since no small file system can be mounted here")
    return "\n".join(lines)


def main():
    enter_namespace()
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("build")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "soak"))
    args = parser.parse_args()
    out = os.path.abspath(args.dir)
    os.makedirs(out, exist_ok=True)
    directory = os.path.join(out, "disk")
    small = mount_small(directory)
    deadline = time.monotonic() + args.minutes * 60
    simulations = Simulations(os.path.abspath(args.build), args.minutes, args.seed * 1000, out)
    processes = Processes(os.path.abspath(args.program), directory, small, args.seed, out)
    processes.elsewhere = simulations.faults
    simulations.start()
    faults = []
    try:
        while time.monotonic() < deadline and not faults and not simulations.faults:
            processes.epoch(deadline)
            print(f"soak: epoch {processes.counts['epochs']}: {processes.counts['events']} events, "
                  f"{processes.counts['kills']} kills, {simulations.slices} slices", flush=True)
    except (Exception, SystemExit) as error:
        faults.append(f"{type(error).__name__}: {error}")
        simulations.deadline = 0
        if audit.Server.latest and not isinstance(error, SystemExit):
            faults.append(audit.Server.latest.tail())
    finally:
        if audit.Server.latest:
            audit.Server.latest.process.kill()  # however the life ended
            audit.Server.latest.process.wait()  # else its file system cannot be unmounted
    simulations.join()
    faults += simulations.faults + [fault for fault in processes.faults if not any(fault in said for said in faults)]
    if not faults:
        faults += [f"there were no {name}" for name in processes.never(args.minutes)]
        faults += [] if simulations.slices else ["no slice of the simulations came to its end"]
    if faults and small:
        shutil.copytree(directory, os.path.join(out, "failed"), dirs_exist_ok=True)
    if small:
        subprocess.run(["umount", directory], check=False)
    text = summary(args.minutes, args.seed, small, simulations, processes)
    print("\n" + text + "".join(f"\nFAULT: {fault}" for fault in faults))
    print(f"soak: {'FAILED' if faults else 'ok'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
