#!/usr/bin/env python3
"""Tests the web page in headless Chromium, against a real server.

usage: test_page.py PROGRAM [--screenshots DIR]

Every figure on the page is compared with what the API answers. Exit code 3: there is no Chromium here.
"""

import argparse
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

ANSWER_SECONDS_MAX = 60  # of the browser; a test that hangs is to end
HOSTILE = '<img src=x onerror="window.hacked=1">'
ACCOUNT = "a/b ä?&#"  # every character that a URL could trip over
DAY_MS = 86_400_000
JUNE_MS = 1_780_272_000_000  # 2026-06-01T00:00:00Z


def event(number, **fields):
    return {"event_id": f"e{number}", "account_id": ACCOUNT, "product_id": "inference", "meter_id": "input",
            "model_id": "small", "timestamp_ms": JUNE_MS, "quantity": "1", **fields}


def correction(number, kind, quantity, **fields):
    return event(number, kind=kind, quantity=quantity,
                 correction_ref={"original_event_id": "e1", "reason": "a test"}, **fields)


EVENTS = [
    event(1, quantity="1500"),
    event(2, quantity="12345678901234567890123456.123456789012", timestamp_ms=JUNE_MS + DAY_MS),
    event(3, quantity="0.000000000001", timestamp_ms=JUNE_MS + DAY_MS, model_id=None),
    event(4, meter_id="output", quantity="40", timestamp_ms=JUNE_MS + 4 * DAY_MS),
    event(5, meter_id="output", quantity="10", timestamp_ms=JUNE_MS + 10 * DAY_MS, model_id="large"),
    correction(6, "Correction", "-50", meter_id="output", timestamp_ms=JUNE_MS + 12 * DAY_MS),
    correction(7, "Retraction", "-1500"),
    event(8, timestamp_ms=JUNE_MS + 40 * DAY_MS),  # of the next month
    event(9, account_id="../usage"),
    event(10, account_id=HOSTILE, meter_id="<script>window.hacked=1</script>", model_id=HOSTILE, unit=HOSTILE),
    event(11, account_id=".."),
    event(1, quantity="98765432109876543210.5"),  # a conflict
    event(10, account_id=HOSTILE, meter_id=HOSTILE),
    *[event(2, quantity=str(7 + n)) for n in range(60)],  # more conflicts than one page of them
]


class Server:
    def __init__(self, program, data):
        self.process = subprocess.Popen([program, "serve", "--data", data, "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline().strip()
        if not line.startswith("listening on http://"):
            raise RuntimeError(f"the server did not start: {line!r}")
        self.url = line.removeprefix("listening on ")

    def post(self, events):
        request = urllib.request.Request(f"{self.url}/v1/usage/batch", json.dumps({"events": events}).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/{path}?{query}", timeout=60) as answer:
            return json.load(answer, parse_int=str, parse_float=str)

    def usage(self, account, group_by, first_ms=JUNE_MS, days=30):
        return self.get(f"v1/accounts/{urllib.parse.quote(account, safe='')}/usage", group_by=group_by,
                        **{"from": first_ms, "to": first_ms + days * DAY_MS, "time_zone": "UTC"})["lines"]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()


class Browser:
    """One page of Chromium, driven by the DevTools protocol over a pair of pipes."""

    def __init__(self, chromium, profile):
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        # The browser reads file 3 and writes file 4. First out of the way, lest one of them be 3 or 4 itself.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        command = [chromium, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}",
                   "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                   "--disable-component-update", "--disable-sync", "--window-size=1280,1400", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to sandbox for root
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, pass_fds=(3, 4),
                                        preexec_fn=lambda: (os.dup2(ends[0], 3), os.dup2(ends[1], 4)))
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self.buffer, self.number, self.session = b"", 0, None
        self.requests = []  # URLs
        self.faults = []    # of the console, and exceptions
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.into], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            got = os.read(self.into, 1 << 16)
            if not got:
                raise EOFError("the browser has ended")
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def notice(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.faults.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.faults.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            answer = self.receive(deadline)
            if answer.get("id") != self.number:
                self.notice(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def run(self, script):
        """What the JavaScript expression is, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition):
        """Until the JavaScript expression is true."""
        self.run(f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})")

    def open(self, url):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && document.querySelector('main')?.ariaBusy === 'false' && "
                  "document.querySelector('#status dd') !== null")

    def texts(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((found) => found.textContent)")

    def rows(self, selector):
        """The texts of the cells of the body rows of a table."""
        return self.run(f"[...document.querySelectorAll({json.dumps(selector + ' tbody tr')})]"
                        ".map((row) => [...row.cells].map((cell) => cell.textContent))")

    def visible(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()")

    def type(self, text):
        self.call("Input.insertText", text=text)

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      text="\r" if key == "Enter" and kind == "keyDown" else "")

    def stop(self):
        os.close(self.out)  # the browser ends when its pipe does
        self.process.wait()
        os.close(self.into)


SUMS = ("usage", "corrections", "retractions", "quantity", "count")


def sums(line):
    return [line[name] for name in SUMS]


def bars(lines):
    """Heights in percent of the plot, from the API's strings."""
    values = [float(line["quantity"]) for line in sorted(lines, key=lambda line: int(line["day"]))]
    return [abs(value) * 100 / (max(0, *values) - min(0, *values)) for value in values]


class PageTest(unittest.TestCase):
    program = chromium = screenshots = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tallystick-page-")
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.server = Server(cls.program, os.path.join(cls.dir, "data"))
        cls.addClassCleanup(cls.server.stop)
        counts = cls.server.post(EVENTS)
        if (counts["accepted"], counts["conflicts"]) != (11, 62):
            raise RuntimeError(counts)
        cls.browser = Browser(cls.chromium, os.path.join(cls.dir, "profile"))
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self):
        self.browser.requests, self.browser.faults = [], []
        self.faults_expected = False

    def tearDown(self):
        self.browser.run("1")  # whatever was noticed until now is received before its answer
        self.assertTrue(self.browser.requests)
        for url in self.browser.requests:
            self.assertTrue(url.startswith((self.server.url + "/", "data:", "about:")), url)
        if not self.faults_expected:
            self.assertEqual(self.browser.faults, [])
        self.assertIsNone(self.browser.run("window.hacked"))

    def open(self, account, first="2026-06-01", last="2026-06-30", **more):
        state = {"account": account, "first": first, "last": last, "time_zone": "UTC", **more}
        self.browser.open(f"{self.server.url}/#{urllib.parse.urlencode(state)}")

    def shoot(self, name):
        if self.screenshots:
            self.browser.call("Page.bringToFront")
            os.makedirs(self.screenshots, exist_ok=True)
            picture = self.browser.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            with open(os.path.join(self.screenshots, name), "wb") as out:
                out.write(base64.b64decode(picture))

    def test_without_an_account_there_is_the_status(self):
        self.browser.open(f"{self.server.url}/")
        self.assertEqual(self.browser.texts("#empty"), ["Choose an account to see its usage."])
        self.assertFalse(self.browser.visible("#lines"))
        zone = self.browser.run("Intl.DateTimeFormat().resolvedOptions().timeZone")
        self.assertEqual(self.browser.run("$('zone').value"), zone)
        self.assertRegex(self.browser.run("$('month').value"), r"^\d{4}-\d\d$")

    def test_lines_are_what_the_api_says(self):
        self.open(ACCOUNT)
        models, meters = self.server.usage(ACCOUNT, "meter_id,model_id"), self.server.usage(ACCOUNT, "meter_id")
        self.assertEqual([line["meter_id"] for line in meters], ["input", "output"])
        self.assertEqual(len(models), 4)
        expected = []
        for meter in meters:
            expected += [[line["meter_id"], line["model_id"], *sums(line)] for line in models
                         if line["meter_id"] == meter["meter_id"]]
            expected.append([meter["meter_id"], "all models", *sums(meter)])
        self.assertEqual(self.browser.rows("#lines"), expected)
        self.assertIn("12345678901234567890123456.123456789013", str(expected), "exact to the last digit")
        self.assertEqual(self.browser.texts("#position"), [f"exact at LSN {self.server.get('v1/status')['lsn']}"])
        self.shoot("light.png")

    def test_days_are_what_the_api_says(self):
        self.open(ACCOUNT)
        lines = self.server.usage(ACCOUNT, "meter_id,day")
        for meter, days in (("input", {0: 1, 1: 1}), ("output", {4: 1, 10: 1, 12: -1})):
            self.browser.run(f"$('meter').value = '{meter}'; $('meter').dispatchEvent(new Event('change'))")
            of_meter = [line for line in lines if line["meter_id"] == meter]
            self.assertEqual(self.browser.rows("#day-table"),
                             [[f"2026-06-{day + 1:02}", *sums(line)] for day, line in zip(days, of_meter, strict=True)])
            drawn = self.browser.run("[...document.querySelectorAll('#plot .bar')].map((bar) => "
                                     "['x', 'y', 'height'].map((name) => Number(bar.getAttribute(name))))")
            self.assertEqual([int(x) for x, _, _ in drawn], list(days), "a bar stands at its day")
            for (_, y, height), expected, sign in zip(drawn, bars(of_meter), days.values(), strict=True):
                self.assertAlmostEqual(height, expected)
                zero = self.browser.run("Number(document.querySelector('#plot .zero').getAttribute('y1'))")
                self.assertAlmostEqual(y if sign < 0 else y + height, zero)
            self.assertEqual(len(self.browser.texts("#plot g")), 30, "every day of the month has its place")
            self.assertIn("2026-06-03: no events", self.browser.texts("#plot title"))
            self.assertIn(f"meter={meter}", self.browser.run("location.hash"))
        self.open(ACCOUNT, meter="output")
        self.assertEqual(self.browser.run("$('meter').value"), "output", "a shared page")

    def test_conflicts_are_what_the_api_says(self):
        self.open(ACCOUNT)
        self.assertEqual(len(self.browser.rows("#conflict-table")), 50)
        self.browser.run("$('more-conflicts').click()")
        self.browser.wait("$('more-conflicts').checkVisibility() === false")
        found = self.browser.rows("#conflict-table")
        conflicts = self.server.get("v1/conflicts", account_id=ACCOUNT)["conflicts"]
        self.assertEqual(len(conflicts), 61)
        self.assertEqual([[row[0], row[1], row[2], row[7]] for row in found],
                         [[one["lsn"], one["original_lsn"], one["event"]["event_id"], one["event"]["quantity"]]
                          for one in conflicts])
        self.assertEqual(found[0][7], "98765432109876543210.5", "no digit is lost")
        self.assertEqual(found[0][6], "2026-06-01T00:00:00.000Z")

    def test_the_status_is_what_the_api_says_and_goes_on(self):
        self.open(ACCOUNT)
        status = self.server.get("v1/status")
        for part in ("segments", "sidecars", "wal", "memory", "queue", "rollups"):
            for key, value in status.get(part, {}).items():
                self.assertEqual(self.browser.texts(f"[data-key='{part}.{key}']"),
                                 [{True: "true", False: "false"}.get(value, value)], f"{part}.{key}")
        self.assertEqual(self.browser.texts("[data-key='database.lsn']"), [status["lsn"]])
        lsn = self.server.post([event(1000 + int(status["lsn"]), account_id="other")])["lsn"]
        self.browser.wait(f"document.querySelector(\"[data-key='database.lsn']\").textContent === '{lsn}'")
        hide = ("Object.defineProperty(document, 'visibilityState', {{value: '{}', configurable: true}});"
                "document.dispatchEvent(new Event('visibilitychange'))")
        self.browser.run(hide.format("hidden"))
        self.assertFalse(self.browser.run("refreshStatus().then(() => statusTimer === 0)"))
        before = len([url for url in self.browser.requests if "v1/status" in url])
        self.browser.run("new Promise((done) => setTimeout(done, STATUS_EVERY_MS + 500))")
        self.assertEqual(len([url for url in self.browser.requests if "v1/status" in url]), before,
                         "a hidden page asks nothing")
        lsn = self.server.post([event(1000 + lsn, account_id="other")])["lsn"]
        self.browser.run(hide.format("visible"))
        self.browser.wait(f"document.querySelector(\"[data-key='database.lsn']\").textContent === '{lsn}'")

    def test_a_wrong_account_has_none(self):
        self.open("nobody")
        self.assertEqual(self.browser.texts("#empty"), ["No usage of nobody from 2026-06-01 to 2026-06-30 (UTC)."])
        self.assertFalse(self.browser.visible("#lines"))
        self.assertFalse(self.browser.visible("#days"))
        self.assertEqual(self.browser.texts("#conflict-table"), ["None."])

    def test_hostile_ids_stay_text(self):
        self.open(HOSTILE)
        meter = "<script>window.hacked=1</script>"
        self.assertEqual([row[:2] for row in self.browser.rows("#lines")], [[meter, HOSTILE]])
        self.assertEqual(self.browser.texts("#lines h2"), [HOSTILE])
        self.assertEqual(self.browser.texts("#meter option"), [meter])
        self.assertIn(meter, self.browser.texts("#plot figcaption")[0])
        self.assertEqual(self.browser.rows("#conflict-table")[0][4], HOSTILE)
        self.assertEqual(self.browser.run("document.images.length + document.scripts.length"), 1, "its own script")
        self.browser.open(f"{self.server.url}/#{urllib.parse.urlencode({'account': HOSTILE + HOSTILE})}")
        self.assertIn(HOSTILE + HOSTILE, self.browser.texts("#empty")[0])
        self.assertEqual(self.browser.run("document.images.length"), 0)

    def test_an_account_named_like_a_path_is_itself(self):
        self.open("../usage")
        self.assertEqual([row[6] for row in self.browser.rows("#lines")], ["1"])
        self.open("..")
        self.assertEqual([row[6] for row in self.browser.rows("#lines")], ["1"])

    def test_the_keyboard_will_do(self):
        self.open("nobody")
        self.browser.run("$('account').focus(); $('account').select()")
        self.browser.type("a/b")
        self.browser.wait("document.querySelectorAll('#accounts option').length > 0")
        self.assertEqual(self.browser.run("[...document.querySelectorAll('#accounts option')].map((o) => o.value)"),
                         [one["account_id"] for one in self.server.get("v1/accounts", prefix="a/b")["accounts"]])
        self.browser.type(ACCOUNT.removeprefix("a/b"))
        self.browser.press("Enter", 13)
        self.browser.wait("$('lines').checkVisibility()")
        self.assertEqual(self.browser.texts("#lines h2"), [ACCOUNT])
        self.assertIn(urllib.parse.urlencode({"account": ACCOUNT}), self.browser.run("location.hash"))
        self.browser.run("history.back()")
        self.browser.wait("$('account').value === 'nobody'")
        reached = set()
        for _ in range(30):
            self.browser.press("Tab", 9)
            reached.add(self.browser.run("document.activeElement.id"))
        self.assertLessEqual({"account", "month", "first", "last", "zone"}, reached)

    def test_the_month_sets_the_days(self):
        self.open(ACCOUNT)
        self.assertEqual(self.browser.run("$('month').value"), "2026-06")
        self.browser.run("$('month').value = '2028-02'; $('month').dispatchEvent(new Event('change'))")
        self.assertEqual(self.browser.run("[$('first').value, $('last').value]"),
                         ["2028-02-01", "2028-02-29"])
        self.browser.run("$('last').value = '2028-02-28'; $('last').dispatchEvent(new Event('change'))")
        self.assertEqual(self.browser.run("$('month').value"), "")

    def test_days_begin_where_the_zone_says(self):
        self.open(ACCOUNT)
        for date, zone, expected in (("2026-06-01", "Europe/Berlin", JUNE_MS - 2 * 3_600_000),
                                     ("2026-06-01", "America/New_York", JUNE_MS + 4 * 3_600_000),
                                     ("2026-06-01", "Pacific/Kiritimati", JUNE_MS - 14 * 3_600_000),
                                     ("2026-03-30", "Europe/Berlin", 1_774_821_600_000),  # the day after the clock change
                                     ("2018-11-04", "America/Sao_Paulo", 1_541_300_400_000)):  # begins at one o'clock
            self.assertEqual(self.browser.run(f"startOfDay('{date}', '{zone}')"), expected, f"{date} {zone}")

    def test_days_of_a_clock_change_are_what_the_api_says(self):
        zone = "Europe/Berlin"
        for day, before, after, start_ms, hours in (
                ("2025-03-30", "2025-03-29", "2025-03-31", 1_743_289_200_000, 23),   # starts at 2025-03-29T23:00:00Z
                ("2025-10-26", "2025-10-25", "2025-10-27", 1_761_429_600_000, 25)):  # starts at 2025-10-25T22:00:00Z
            end_ms = start_ms + hours * 3_600_000
            # The first and the last millisecond of the day, and their neighbours.
            times = (start_ms - 1, start_ms, end_ms - 1, end_ms)
            account = f"clock {day}"
            self.server.post([event(f"{day} {n}", account_id=account, timestamp_ms=time, quantity=str(10 ** n))
                              for n, time in enumerate(times)])
            self.open(account, first=before, last=after, time_zone=zone)
            lines = self.server.get(f"v1/accounts/{urllib.parse.quote(account)}/usage", group_by="meter_id,day",
                                    time_zone=zone, **{"from": start_ms - DAY_MS, "to": end_ms + DAY_MS})["lines"]
            self.assertEqual([(line["day"], line["quantity"]) for line in lines],
                             [(str(start_ms - DAY_MS), "1"), (str(start_ms), "110"), (str(end_ms), "1000")])
            self.assertEqual(self.browser.rows("#day-table"),
                             [[date, *sums(line)] for date, line in zip((before, day, after), lines, strict=True)])
            self.assertEqual(len(self.browser.texts("#plot g")), 3, "no day is missing, none is there twice")
            self.open(account, first=day, last=day, time_zone=zone)
            self.assertEqual([row[2:] for row in self.browser.rows("#lines")], [sums(lines[1])])

    def test_a_failed_request_shows_its_problem(self):
        self.faults_expected = True
        self.open(ACCOUNT, time_zone="Nowhere/At_All")
        self.assertEqual(self.browser.texts("#problem"), ["invalid_time_zone: there is no time zone Nowhere/At_All"])
        self.open(ACCOUNT, first="2026-06-30", last="2026-06-01")
        self.assertEqual(self.browser.texts("#problem"), ["invalid_range: the last day is before the first"])
        self.open(ACCOUNT)
        self.assertFalse(self.browser.visible("#problem"))
        try:
            self.server.get("v1/conflicts", cursor=HOSTILE)
            self.fail("a cursor that is none was taken")
        except urllib.error.HTTPError as error:
            problem = json.load(error)
        self.browser.run(f"($('more-conflicts').dataset.cursor = {json.dumps(HOSTILE)}, moreConflicts())")
        self.assertEqual(self.browser.texts("#problem"), [f"{problem['code']}: {problem['detail']}"])
        self.assertTrue(self.browser.visible("#problem"))

    def test_light_and_dark(self):
        colours = []
        for scheme in ("light", "dark"):
            self.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.open(ACCOUNT, meter="output")
            colours.append(self.browser.run("[document.body, $('lines')]"
                                            ".map((of) => getComputedStyle(of).backgroundColor + getComputedStyle(of).color)"))
        self.shoot("dark.png")
        self.browser.call("Emulation.setEmulatedMedia", features=[])
        self.assertEqual(len({*colours[0], *colours[1]}), 4)

    def test_a_server_that_is_gone_is_told(self):
        self.faults_expected = True
        other = Server(self.program, os.path.join(self.dir, "gone"))
        self.browser.open(f"{other.url}/")
        other.stop()
        self.browser.run("refreshStatus()")
        self.assertEqual(self.browser.texts("#status-problem"), ["no_answer: the server does not answer"])
        self.browser.requests = [f"{self.server.url}/"]  # those of this test went to the other server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--screenshots", help="a folder for pictures of the page")
    args = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("test_page: NOT RUN, Chromium is not installed. On Debian: apt-get install chromium", file=sys.stderr)
        return 3
    PageTest.program, PageTest.chromium = os.path.abspath(args.program), chromium
    PageTest.screenshots = args.screenshots
    try:
        return 0 if unittest.main(argv=[sys.argv[0], "-v"], exit=False).result.wasSuccessful() else 1
    finally:
        PageTest.doClassCleanups()  # what an interrupted run left


if __name__ == "__main__":
    sys.exit(main())
