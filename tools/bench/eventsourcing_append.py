"""Appends with the recorder of the `eventsourcing` package, in its own venv: one event a transaction, to a file.

`eventsourcing_append.py DATABASE`; each line read is a number of appends, answered by a JSON list of milliseconds.
"""

import json
import sys
import time
import uuid

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

STATE = b"x" * 300


def main() -> None:
    """Until the input ends."""
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(sys.argv[1]))
    recorder.create_table()
    originator, version = uuid.uuid4(), 0
    for line in sys.stdin:
        taken = []
        for _ in range(int(line)):
            version += 1
            event = StoredEvent(originator, version, "bench:Event", STATE)
            began = time.perf_counter_ns()
            recorder.insert_events([event])
            taken.append((time.perf_counter_ns() - began) / 1e6)
        sys.stdout.write(json.dumps(taken) + "\n")
        sys.stdout.flush()


main()
