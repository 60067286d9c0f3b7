"""Flower's weighted aggregation of the same updates; runs in Flower's own environment.

``python -m bench.peers.flower (write|wire|decoded) FOLDER CLIENTS REPEATS``
"""

import sys
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from bench.peers.measuring import measured, report
from bench.peers.raw_files import read_tensors, save_result


def wire_file(folder: Path, client: int) -> Path:
    """Name a client's update as protobuf."""
    return folder / f"{client}.pb"


def write(folder: Path, clients: int) -> None:
    """Write the updates as Flower's messages carry them."""
    for client in range(clients):
        arrays = ArrayRecord({name: Array(one) for name, one in read_tensors(folder, client)})
        metrics = MetricRecord({"num-examples": client + 1})
        record = RecordDict({"arrays": arrays, "metrics": metrics})
        wire_file(folder, client).write_bytes(recorddict_to_proto(record).SerializeToString())


def decode(folder: Path, clients: int) -> list[RecordDict]:
    """Read the updates from their files."""
    found = []
    for client in range(clients):
        message = ProtoRecordDict()
        message.ParseFromString(wire_file(folder, client).read_bytes())
        found.append(recorddict_from_proto(message))
    return found


def aggregate(records: list[RecordDict]) -> ArrayRecord:
    """Average them, as FedAvg does."""
    return aggregate_arrayrecords(records, "num-examples")


def main() -> None:
    """Do what the arguments say, and report."""
    what, folder, clients, repeats = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])
    if what == "write":
        write(folder, clients)
        return
    if what == "wire":
        report(measured(lambda: aggregate(decode(folder, clients)), repeats=repeats))
    else:
        records = decode(folder, clients)
        report(measured(lambda: aggregate(records), repeats=repeats))
        found = aggregate(records)
        flat = np.concatenate([np.ravel(array.numpy()) for array in found.values()])
        save_result(folder, "flower", flat)


main()
