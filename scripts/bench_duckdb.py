#!/usr/bin/env python3
"""Compare the weekly roll-up of bklog with that of DuckDB (pip install duckdb) on the same ledger.

usage: bench_duckdb.py LEDGER [--bench PROGRAM] [--runs N]
PROGRAM is the benchmark (default: `cargo bench --bench history --`); it is called with `rollup LEDGER`. Each run is a process of its own;
the best of N counts, with the processor time of all threads beside the clock. bklog is asked twice: as folding leaves a ledger, with stored
sums in `weeks/`, and without these, from the rows alone, as DuckDB reads it. DuckDB runs the SQL of docs/history.md (histograms, as bklog does)
and exact quantiles, which are its own quickest way to medians and p95.
"""
import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time

FILES = "read_parquet('{ledger}/steps/**/*.parquet', hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
FIGURES = """COUNT(*) AS n, SUM(seconds) AS seconds,
  SUM(CASE WHEN status = 'done' THEN 1 ELSE 0 END) AS executed, SUM(CASE WHEN cache_hit THEN 1 ELSE 0 END) AS cached"""
HISTOGRAM = f"""SELECT project, target, identity, week, duration_bucket, {FIGURES}
FROM {FILES} GROUP BY project, target, identity, week, duration_bucket"""
EXACT = f"""SELECT project, target, identity, week, {FIGURES}, QUANTILE_CONT(seconds, [0.5, 0.95]) AS q
FROM {FILES} GROUP BY project, target, identity, week"""


def inside(query, ledger):
    """Runs a query in this process and prints its figures."""
    import duckdb

    begun = time.perf_counter()
    connection = duckdb.connect()
    connection.execute(f"SET threads = {os.cpu_count()}")
    rows = connection.execute(query.format(ledger=ledger)).fetchall()
    seconds = time.perf_counter() - begun
    counted = sum(row[5 if "duration_bucket" in query else 4] for row in rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 3), "peak_mib": round(peak), "groups": len(rows), "rows": counted}))


def once(command):
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(output.strip().splitlines()[-1])
    result["cpu_seconds"] = round(ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime, 3)
    return result


def best(command, runs):
    return min((once(command) for _ in range(runs)), key=lambda result: result["seconds"])


def without_sums(ledger, then):
    """Does something while the sums that folds stored are out of the way."""
    sums, aside = os.path.join(ledger, "weeks"), ledger.rstrip("/") + ".sums"
    os.rename(sums, aside)
    try:
        return then()
    finally:
        os.rename(aside, sums)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger")
    parser.add_argument("--bench", default="cargo bench --quiet --bench history --")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--inside", choices=["histogram", "exact"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return inside({"histogram": HISTOGRAM, "exact": EXACT}[given.inside], given.ledger)
    command = [*shlex.split(given.bench), "rollup", given.ledger]
    ours = {
        "as folded": best(command, given.runs),
        "rows alone": without_sums(given.ledger, lambda: best(command, given.runs)),
    }
    for name, result in ours.items():
        print(f"bklog, {name:10}    {result}")
    for name in ("histogram", "exact"):
        theirs = best([sys.executable, __file__, given.ledger, "--inside", name], given.runs)
        print(f"DuckDB, {name:10}   {theirs}")
        for what, result in ours.items():
            if theirs["rows"] != result["rows"]:
                sys.exit(f"DuckDB counted {theirs['rows']} rows, bklog {result['rows']}")
            wall, cpu = result["seconds"] / theirs["seconds"], result["cpu_seconds"] / theirs["cpu_seconds"]
            print(f"  bklog, {what}, takes {wall:.2f} times as long, {cpu:.2f} times the processor time")


if __name__ == "__main__":
    main()
