"""A round through the store, against downloading the same objects and nothing else."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import numpy as np

from bench.peers.measuring import measured
from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.adapters.own_strategies import installed_strategy
from rondo_aggregator.handlers import inputs as reading
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.kernels import warm
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round
from rondo_core.aws import connect
from rondo_core.layout import Layout, TensorSpec
from rondo_core.manifest import Manifest, ManifestEntry
from rondo_core.model_store import ModelStore, weights_key
from rondo_core.settings import AwsSettings
from rondo_core.topology import Names
from rondo_core.weights import digest, encode
from rondo_local.bootstrap import bootstrap
from rondo_local.emulators import AwsName, start_aws
from rondo_local.processes import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client

__all__ = ["store_reading"]

CLIENTS = 24
COLUMNS = 4 * 1024 * 1024
FETCHES = 4
REPEATS = 5


def store_reading(name: AwsName, build_folder: Path) -> dict[str, object]:
    """Combine a shard of 24 updates from the store, and download the same bytes with boto3 alone.

    Both use four connections. The two take turns, so that what else the machine does hits both.
    """
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "logs") as supervisor:
        aws = start_aws(
            name, supervisor, build_folder=build_folder, state_folder=Path(folder) / "state"
        )
        settings = AwsSettings(
            aws_endpoint_url=aws.endpoint_url, aws_region=aws.region, rondo_prefix="bench"
        )
        os.environ.update(aws.environment())
        bootstrap(settings)
        client = boto3.client("s3", endpoint_url=aws.endpoint_url, region_name=aws.region)
        models = connect(settings).model_store
        bucket = Names("bench").bucket
        return _measured(name, models, client, bucket, Path(folder))


def _measured(
    name: AwsName, models: ModelStore, client: S3Client, bucket: str, folder: Path
) -> dict[str, object]:
    source = _sealed_round(models)
    cache = FileObjects(models, FileCache(folder, max_bytes=1))
    reading.WHOLE_BYTES = 0  # a shard of a large model: only ranges come, and nothing stays
    warm()
    keys = [update.key for update in source.manifest.updates]

    def combine() -> None:
        inputs = reading.inputs_of(source, cache)
        mix = mix_of_round(source.strategy, inputs, [])
        columns_of(source.strategy, mix, inputs, 0, COLUMNS)

    def download() -> None:
        with ThreadPoolExecutor(FETCHES) as pool:
            list(pool.map(lambda key: _download(client, bucket, key), keys))

    seconds: dict[str, list[float]] = {"combine": [], "download": []}
    for turn in range(REPEATS + 1):
        for what, work in (("combine", combine), ("download", download)):
            taken = _timed(work)
            if turn:
                seconds[what].append(taken)
    peak = measured(combine, repeats=1, warm_up=False)["peak_private_mib"]
    medians = {what: statistics.median(taken) for what, taken in seconds.items()}
    return {
        "emulator": name,
        "updates": CLIENTS,
        "bytes": CLIENTS * 4 * COLUMNS,
        "seconds": seconds,
        "medians": medians,
        "ratio": medians["combine"] / medians["download"],
        "peak_private_mib": peak,
    }


def _download(client: S3Client, bucket: str, key: str) -> int:
    return len(client.get_object(Bucket=bucket, Key=key)["Body"].read())


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _sealed_round(models: ModelStore) -> Source:
    layout = Layout((TensorSpec("dense/kernel", (COLUMNS,)),))
    base = encode(layout, np.zeros(COLUMNS, np.float32))
    models.put(weights_key(digest(base)), base)
    updates = []
    for client in range(CLIENTS):
        data = encode(layout, np.random.default_rng(client).standard_normal(COLUMNS, np.float32))
        info = models.put(f"updates/bench/{client}", data)
        updates.append(
            ManifestEntry(
                client_id=f"{client:04}",
                sha256=digest(data),
                examples=client + 1,
                key=f"updates/bench/{client}",
                object_version=info.version,
            )
        )
    manifest = Manifest(
        run_id="bench",
        round=1,
        attempt=1,
        base=digest(base),
        layout=layout.digest,
        strategy="fedavg",
        updates=tuple(updates),
    )
    return Source("0" * 64, manifest, layout, installed_strategy("fedavg", {}))
