"""NVFlare's weighted aggregation of the same updates; runs in NVFlare's own environment.

``python -m bench.peers.nvflare (write|wire|decoded) FOLDER CLIENTS REPEATS``
"""

import sys
from pathlib import Path

import numpy as np
from nvflare.app_common.aggregators.weighted_aggregation_helper import (
    WeightedAggregationHelper,
)
from nvflare.app_common.decomposers import common_decomposers
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs.datum import DatumManager

from bench.peers.measuring import measured, report
from bench.peers.raw_files import read_tensors, save_result

Tensors = dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]
WHOLE = 10**15
"""So that FOBS keeps arrays in the message, instead of a reference to a download."""


def wire_file(folder: Path, client: int) -> Path:
    """Name a client's update as FOBS."""
    return folder / f"{client}.fobs"


def write(folder: Path, clients: int) -> None:
    """Write the updates as NVFlare's messages carry them."""
    for client in range(clients):
        data = fobs.serialize(dict(read_tensors(folder, client)), DatumManager(threshold=WHOLE))
        wire_file(folder, client).write_bytes(data)


def decode(folder: Path, client: int) -> Tensors:
    """Read an update from its file."""
    data = wire_file(folder, client).read_bytes()
    return fobs.deserialize(data, DatumManager(threshold=WHOLE))  # type: ignore[no-any-return]


def aggregate(updates: list[Tensors]) -> Tensors:
    """Average updates that are in memory, weighted."""
    helper = WeightedAggregationHelper()
    for client, update in enumerate(updates):
        helper.add(update, float(client + 1), f"client-{client}", 0)
    return helper.get_result()  # type: ignore[no-any-return]


def main() -> None:
    """Do what the arguments say, and report."""
    common_decomposers.register()
    what, folder, clients, repeats = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])
    if what == "write":
        write(folder, clients)
        return
    if what == "wire":
        # All of a round's updates are there before the aggregator averages them.
        report(
            measured(
                lambda: aggregate([decode(folder, client) for client in range(clients)]),
                repeats=repeats,
            )
        )
    else:
        updates = [decode(folder, client) for client in range(clients)]
        report(measured(lambda: aggregate(updates), repeats=repeats))
        found = aggregate(updates)
        save_result(folder, "nvflare", np.concatenate([np.ravel(one) for one in found.values()]))


main()
