"""Makes the ledgers of other versions from one that this version recorded: usage: make.py RECORDED_HISTORY OUT."""
import pathlib, sys
import pyarrow as pa, pyarrow.parquet as pq
source, out = map(pathlib.Path, sys.argv[1:])
KEPT = {"runs": ["schema_version", "run", "at", "week", "outcome", "builds", "seconds", "duration_source", "duration_bucket"],
        "builds": ["schema_version", "run", "at", "week", "build", "target", "outcome", "seconds", "duration_bucket"],
        "steps": ["schema_version", "run", "at", "week", "build", "index", "name", "identity", "target", "status", "cache_hit", "seconds", "duration_bucket"]}
for path in source.rglob("*.parquet"):
    inside = path.relative_to(source)
    table = inside.parts[0]
    if table not in KEPT:
        continue
    data = pq.ParquetFile(path).read()
    for kind, changed in (("older", data.select(KEPT[table])),
                          ("newer", data.set_column(0, "schema_version", pa.array([2] * len(data), pa.int32())).append_column("more", pa.array(["x"] * len(data))))):
        target = out / kind / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(changed, target, compression="zstd")
