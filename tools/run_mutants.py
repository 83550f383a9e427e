#!/usr/bin/env python3
"""Runs the tests against deliberate durability bugs, and fails if one goes unnoticed.

usage: run_mutants.py BUILD_DIR [--only NAME ...] [--all] [--list]

BUILD_DIR is a build with TALLY_MUTANTS. Without a bug chosen its tests must pass; with each bug of the list
(src/base/mutant.cc, by the environment variable TALLY_MUTANT) the first test program that fails has caught
it: each program is tried in its quick form first, then as the tests run it. Without --all a score are run,
the ones that lie nearest to the promises.
"""

import argparse
import os
import subprocess
import sys
import time

# For each bug the programs to try, the one that catches it soonest first.
MUTANTS = {
    "ack_before_sync": ["crash_matrix_test", "simulation_test"],
    "sync_skipped": ["crash_matrix_test", "simulation_test"],
    "short_write_ignored": ["faults_test", "simulation_test"],
    "dir_sync_dropped": ["crash_matrix_test", "simulation_test"],
    "sync_retried": ["faults_test", "simulation_test"],
    "stale_frame_believed": ["wal_test", "crash_matrix_test"],
    "checksum_not_compared": ["bit_rot_test", "wal_test"],
    "mid_log_truncated": ["bit_rot_test", "wal_test"],
    "tail_not_rewritten": ["crash_matrix_test", "simulation_test"],
    "early_duplicate": ["crash_matrix_test", "simulation_test", "faults_test"],
    "lsn_reused": ["crash_matrix_test", "simulation_test"],
    "mark_after_poison": ["faults_test", "simulation_test"],
    "offered_before_listed": ["crash_matrix_test", "simulation_test"],
    "older_manifest_taken": ["bit_rot_test", "crash_matrix_test"],
    "deleted_before_manifest": ["crash_matrix_test", "simulation_test"],
    "conflict_counted": ["crash_matrix_test", "simulation_test"],
    "commit_time_goes_back": ["simulation_test", "crash_matrix_test"],
    "root_not_synced": ["crash_matrix_test", "simulation_test"],
    "key_table_dropped_early": ["simulation_test", "sidecar_faults_test"],
    "key_tables_dropped_out_of_order": ["simulation_test", "sidecar_faults_test"],
    "stale_probe_believed": ["simulation_test"],
    "segment_sync_skipped": ["crash_matrix_test", "trace_test"],
    "segment_dir_sync_dropped": ["crash_matrix_test", "trace_test"],
    "wal_freed_early": ["crash_matrix_test", "simulation_test"],
    "segment_removed_in_doubt": ["sidecar_faults_test", "simulation_test"],
    "orphans_deleted_early": ["sidecar_faults_test", "crash_matrix_test"],
    "sidecar_read_error_is_absent": ["sidecar_faults_test", "dedupe_test"],
    "foreign_page_believed": ["sidecar_faults_test", "dedupe_test"],
    "corrupt_sidecar_is_empty": ["sidecar_faults_test", "simulation_test"],
    "foreign_sidecar_believed": ["sidecar_faults_test", "simulation_test"],
    "filter_key_missing": ["simulation_test", "dedupe_test"],
    "rollup_above_lsn": ["simulation_test", "metamorphic_test"],
    "rollup_edges_dropped": ["simulation_test", "metamorphic_test"],
    "rolled_up_rows_counted": ["simulation_test", "metamorphic_test"],
    "rollup_error_is_empty": ["reading_test", "simulation_test"],
    "foreign_rollup_believed": ["reading_test", "simulation_test"],
    "as_of_not_settled": ["simulation_test"],
    "inputs_deleted_early": ["compaction_test", "crash_matrix_test"],
    "row_map_shifted": ["compaction_test", "simulation_test"],
    "merged_key_missing": ["compaction_test", "simulation_test"],
    "compaction_check_skipped": ["compaction_test"],
    "bad_sidecar_merged": ["compaction_test"],
    "usagedb_checksum_trusted": ["usagedb_move_test"],
    "backup_misses_last_segment": ["backup_test"],
}

USUAL = ["ack_before_sync", "sync_skipped", "short_write_ignored", "sync_retried", "stale_frame_believed",
         "checksum_not_compared", "mid_log_truncated", "tail_not_rewritten", "lsn_reused",
         "offered_before_listed", "older_manifest_taken", "deleted_before_manifest",
         "key_table_dropped_early", "stale_probe_believed", "segment_sync_skipped", "wal_freed_early",
         "sidecar_read_error_is_absent", "corrupt_sidecar_is_empty", "foreign_sidecar_believed",
         "rollup_above_lsn", "rollup_edges_dropped", "rollup_error_is_empty", "as_of_not_settled",
         "inputs_deleted_early", "row_map_shifted", "merged_key_missing", "compaction_check_skipped",
         "bad_sidecar_merged", "backup_misses_last_segment"]


def find_program(build, name):
    for root, _, files in os.walk(build):
        if name in files and os.access(os.path.join(root, name), os.X_OK):
            return os.path.join(root, name)
    raise SystemExit(f"run_mutants: {name} is not built under {build}")


def run(program, mutant, quick=True):
    environment = dict(os.environ, TALLY_MUTANT=mutant)
    environment.pop("TALLY_TRIED_FILE", None)
    for effort in ("TALLY_QUICK", "TALLY_SOAK"):
        environment.pop(effort, None)
    if quick:
        environment["TALLY_QUICK"] = "1"
    done = subprocess.run([program, "--gtest_fail_fast", "--gtest_brief=1"], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
    failed = [line.split("]", 1)[1].split(",")[0].split("(")[0].strip()
              for line in done.stdout.splitlines() if line.startswith("[  FAILED  ]")]
    if done.returncode != 0 and not failed:
        failed = [f"aborted ({done.returncode})"]
    return done.returncode == 0, failed[0] if failed else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--only", nargs="*", choices=sorted(MUTANTS))
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(MUTANTS))
        return 0
    chosen = args.only or (list(MUTANTS) if args.all else USUAL)
    programs = {p: find_program(args.build, p) for m in chosen for p in MUTANTS[m]}
    for name, program in sorted(programs.items()):
        passed, test = run(program, "")
        if not passed:
            print(f"run_mutants: {name} fails without any bug: {test}")
            return 1
    sound = set()  # programs that were seen to pass in their whole form without any bug
    missed = []
    for mutant in chosen:
        start = time.monotonic()
        for quick, name in [(quick, name) for quick in (True, False) for name in MUTANTS[mutant]]:
            passed, test = run(programs[name], mutant, quick)
            if not passed and not quick and name not in sound:
                if not run(programs[name], "", quick)[0]:
                    print(f"run_mutants: {name} fails in its whole form without any bug")
                    return 1
                sound.add(name)
            if not passed:
                print(f"caught  {mutant:<26} by {name}: {test}  ({time.monotonic() - start:.1f} s)", flush=True)
                break
        else:
            missed.append(mutant)
            print(f"MISSED  {mutant:<26} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"mutants tried={len(chosen)} caught={len(chosen) - len(missed)} missed={len(missed)}")
    tried = os.environ.get("TALLY_TRIED_FILE")
    if tried:
        with open(tried, "a", encoding="utf-8") as out:
            out.write(f"mutants tried={len(chosen)} caught={len(chosen) - len(missed)}\n")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
