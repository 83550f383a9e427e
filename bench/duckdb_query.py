#!/usr/bin/env python3
"""DuckDB's side of query_bench: loads a CSV into a database file, and answers questions on one thread.

usage: duckdb_query.py CSV DATABASE SECONDS

Questions come on standard input, one a line: NAME, tab, SQL. For each a line is printed: NAME, p50 in microseconds,
the number of runs, and the answer (columns joined by |, rows by ;), with tabs between. A question is repeated for
SECONDS, at least three times.
"""

import sys
import time

import duckdb

RUNS_MIN, RUNS_MAX = 3, 1000

# The columns of query_bench's CSV.
TABLE = """CREATE TABLE events(event_id VARCHAR, account_id VARCHAR, timestamp_ms BIGINT, meter_id VARCHAR,
                               model_id VARCHAR, region VARCHAR, quantity BIGINT)"""


def main():
    csv, database, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with duckdb.connect(database) as loading:
        loading.execute(TABLE)
        loading.execute("COPY events FROM ? (FORMAT csv, HEADER false)", [csv])
    connection = duckdb.connect(database, read_only=True)
    connection.execute("SET threads = 1")
    print(f"version\t{duckdb.__version__}", flush=True)
    for line in sys.stdin:
        name, sql = line.rstrip("\n").split("\t")
        connection.execute(f"PREPARE question AS {sql}")
        connection.execute("EXECUTE question").fetchall()  # warm
        micros, start = [], time.monotonic()
        while len(micros) < RUNS_MIN or (len(micros) < RUNS_MAX and time.monotonic() - start < seconds):
            began = time.perf_counter()
            rows = connection.execute("EXECUTE question").fetchall()
            micros.append((time.perf_counter() - began) * 1e6)
        connection.execute("DEALLOCATE question")
        micros.sort()
        answer = ";".join("|".join(str(column) for column in row) for row in rows)
        print(f"{name}\t{micros[len(micros) // 2]:.3f}\t{len(micros)}\t{answer}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
