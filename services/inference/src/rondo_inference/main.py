"""Starts the inference service: the one place where its parts meet the world."""

import gc
import logging
import os
import secrets
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rondo_core.clock import SystemClock
from rondo_core.errors import SettingsInvalid
from rondo_core.events import Event
from rondo_core.listening import address
from rondo_core.model_rows import AliasRow
from rondo_core.settings import read_settings
from rondo_core.telemetry import configure_logging
from rondo_core.tracing import start_tracing
from rondo_inference.assembly import Parts, assembled
from rondo_inference.batch.orders import Orders
from rondo_inference.batch.ports import Ports as JobPorts
from rondo_inference.command import environment
from rondo_inference.domain.batch_job import SERVICE
from rondo_inference.domain.cpus import usable_cpus
from rondo_inference.engines.runtimes import Engines
from rondo_inference.registry.aliases import Aliases, StoreAliases
from rondo_inference.registry.folder import FolderAliases, MountedFolders
from rondo_inference.registry.folder_files import load_folder
from rondo_inference.registry.heap import give_back, keep_large_apart
from rondo_inference.registry.loader import Load, OpenBatcher, load_version
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.standing_back import NOBODY_WAITS, yield_the_cpu
from rondo_inference.registry.watcher import Watcher, watch
from rondo_inference.settings import Settings

if TYPE_CHECKING:
    from rondo_core.aws import AwsPorts

__all__ = ["main"]

log = logging.getLogger(__name__)

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  (what is listened on is a setting)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(Settings, environment(sys.argv[1:], os.environ))
    configure_logging("inference", level=settings.log_level)
    keep_large_apart()
    start_tracing("inference", os.environ)
    cpus = usable_cpus(len(os.sched_getaffinity(0)), _cpu_max())
    mounted = MountedFolders() if settings.sagemaker_multi_model else None
    aliases, load, orders = (None, _loads(mounted), None) if mounted else _source(settings)
    with assembled(
        settings,
        load,
        clock=SystemClock(),
        cpus=cpus,
        describe=mounted.register if mounted else None,
        orders=orders,
    ) as parts:
        stop = threading.Event()

        def begin(port: int) -> None:
            # Only now: a model that is being loaded cannot be left when no port was free.
            if aliases is None:
                parts.catalogue.settle()
            else:
                _follow(aliases, parts, settings, stop)
            _tell(settings, port)

        # What is here stays: a collector that looks through it costs a tenth of a small request.
        gc.collect()
        gc.freeze()
        parts.server.run_until_signalled(begin)
        stop.set()


def _tell(settings: Settings, port: int) -> None:
    host = "localhost" if settings.host in _EVERY_ADDRESS else settings.host
    where = {"host": settings.host, "port": port, "grpc_port": settings.grpc_port or None}
    log.info("listening", extra=where | {"url": f"http://{address(host, port)}/"})


def _source(settings: Settings) -> tuple[Aliases, Load, Orders | None]:
    on_demand, pinned = settings.load_on_demand, settings.pinned
    if settings.models_folder is not None:
        if not Path(settings.models_folder).is_dir():
            raise SettingsInvalid([f"MODELS_FOLDER={settings.models_folder!r} is no folder"])
        folder = FolderAliases(Path(settings.models_folder), on_demand=on_demand, pinned=pinned)
        return folder, _loads(folder), None
    from rondo_core.aws import connect  # noqa: PLC0415  (half a second that a folder does not need)

    ports = connect(settings)
    aliases = StoreAliases(ports.run_store, on_demand=on_demand, pinned=pinned)
    return aliases, partial(load_version, store=ports.model_store), _orders(ports, settings)


def _orders(aws: "AwsPorts", settings: Settings) -> Orders:
    def publish(*events: Event) -> None:
        aws.publish(f"rondo/{SERVICE}")(*events)  # asks who we are, so not before it is needed

    ports = JobPorts(
        rows=aws.run_store,
        objects=aws.model_store,
        folders=aws.object_folders,
        publish=publish,
        clock=SystemClock(),
        bucket=aws.names.bucket,
        region=settings.aws_region,
    )
    return Orders(
        ports=ports,
        links=aws.upload_links(settings.upload_endpoint_url),
        new_id=partial(secrets.token_hex, 8),
        link_seconds=settings.link_seconds,
    )


def _loads(folders: FolderAliases | MountedFolders) -> Load:
    def load(alias: AliasRow, *, engines: Engines, open_batcher: OpenBatcher) -> ServedModel:
        folder = folders.folder_of(alias)
        return load_folder(alias, folder=folder, engines=engines, open_batcher=open_batcher)

    return load


def _follow(aliases: Aliases, parts: Parts, settings: Settings, stop: threading.Event) -> None:
    watcher = Watcher(
        aliases=aliases,
        catalogue=parts.catalogue,
        bring=parts.memory.bring,
        retire=parts.memory.retire,
        tidy=give_back,
        clock=SystemClock(),
        metrics=parts.metrics,
    )
    seconds = settings.model_refresh_seconds

    def follow() -> None:
        yield_the_cpu(NOBODY_WAITS)
        watch(watcher, stop=stop, seconds=seconds, metrics=parts.metrics)

    threading.Thread(target=follow, name="watcher", daemon=True).start()


def _cpu_max() -> str:
    file = Path("/sys/fs/cgroup/cpu.max")
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    main()
