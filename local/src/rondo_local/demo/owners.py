"""The four data owners, each a client of its own, in one process: TensorFlow is loaded only once.

``python -m rondo_local.demo.owners`` reads ``owners.json`` in the folder that it is given, joins
and trains as every owner, and then measures what each would have reached alone and what all would
have reached with their data in one place.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

import rondo
from rondo_core.model_spec import parse_model_spec
from rondo_local.demo.baselines import measure
from rondo_local.demo.data import Labelled, load
from rondo_local.demo.orders import BASELINES_FILE, ORDERS_FILE, Orders

__all__ = ["main", "take_part"]


def take_part(owner: str, data: Labelled, orders: Orders, folder: Path) -> rondo.Result:
    """Join as one owner and train until the run is over; this is a data owner's whole program."""
    federation = rondo.connect(
        orders.gateway_url, invite=orders.invites[owner], name=owner, home=folder / "homes" / owner
    )
    return federation.train(data.x, data.y, progress=False)


def main() -> None:
    """Train as all owners, then write the baselines."""
    folder = Path(sys.argv[1])
    orders = msgspec.json.decode((folder / ORDERS_FILE).read_bytes(), type=Orders)
    digits = load(seed=orders.seed)
    with ThreadPoolExecutor(len(digits.owners)) as threads:
        parts = [
            threads.submit(take_part, owner, data, orders, folder)
            for owner, data in digits.owners.items()
        ]
        results = [part.result() for part in parts]
    sys.stdout.write("".join(f"{result.run_id}: {result.reason}\n" for result in results))
    spec = parse_model_spec(Path(orders.spec).read_bytes())
    baselines = measure(spec, digits, rounds=orders.rounds)
    part_file = folder / (BASELINES_FILE + ".part")
    part_file.write_bytes(msgspec.json.encode(baselines))
    part_file.rename(folder / BASELINES_FILE)


if __name__ == "__main__":
    main()
