"""What an inference process is told by its environment."""

from dataclasses import dataclass
from typing import Literal

from rondo_core.settings import AwsSettings, LogLevel, Port, Positive

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(AwsSettings):
    """Settings of one inference process.

    Attributes:
        host: address to listen on; containers set 0.0.0.0.
        port: its port; SageMaker wants 8080.
        grpc_port: port of the Open Inference Protocol over gRPC; 0: none is opened.
        models_folder: a folder of exported versions that is served instead of the store.
        model_refresh_seconds: how often the aliases are read.
        model_memory_bytes: what all loaded versions may take, as measured; 0: no bound.
        load_on_demand: whether a version is loaded only when somebody asks for it.
        pinned_models: names, parted by commas, that are loaded at once and never evicted.
        max_body_bytes: a longer request body is refused with 413 (SageMaker allows 25 MB).
        max_buffered_bytes: what the bodies of all requests may have together while they are read
            and answered; more is refused with 503.
        max_connections: for another, one that is silent gives way; if all are being answered, 503.
        max_requests: so many may be under way; more are refused with 503.
        header_seconds: from a request's first byte to the end of its headers, then 408.
        body_seconds: from the headers to the end of the body, then 408.
        write_seconds: a caller that takes nothing of its answer for so long is cut off.
        max_batch_rows: rows of one run of the engine; more are computed in turn.
        max_queue_rows: rows that may wait for an engine; more are refused with 429.
        queue_seconds: a request that waited longer is refused with 503.
        threads: predictions that are computed at a time; 0: as many as there are CPUs.
        intra_op_threads: that one prediction uses. With two CPUs one gives a quarter more requests
            a second than two, and no later answer to a single caller.
        engines: names, parted by commas, of what may compute: onnxruntime, litert, tensorflow, the
            preferred one first; none: ONNX Runtime, and LiteRT where it is installed.
        picture_size: what happens to a picture file of another size: refuse or resize.
        api_keys_file: keys and what they are for; none: everybody may ask everything.
        cors: whether pages of other sites may ask.
        access_log: whether each request is a line of the log, without its payload.
        sagemaker_multi_model: whether SageMaker's multi-model contract is spoken, by which whoever
            reaches the port loads models from the disk.
        upload_endpoint_url: the store's address as callers reach it, in the links of batch jobs; by
            default as this process does.
        link_seconds: for how long such a link is good.
        drain_seconds: how long requests are still accepted after SIGTERM, while readiness says no.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    host: str = "127.0.0.1"
    port: Port = 8081
    grpc_port: Port = 0
    models_folder: str | None = None
    model_refresh_seconds: float = 1.0
    model_memory_bytes: int = 0
    load_on_demand: bool = False
    pinned_models: str = ""
    max_body_bytes: Positive = 25 * 1024 * 1024
    max_buffered_bytes: int = 256 * 1024 * 1024
    max_connections: Positive = 1024
    max_requests: Positive = 1024
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 60.0
    max_batch_rows: Positive = 64
    max_queue_rows: Positive = 4096
    queue_seconds: float = 10.0
    threads: int = 0
    intra_op_threads: Positive = 1
    engines: str = ""
    picture_size: Literal["refuse", "resize"] = "refuse"
    api_keys_file: str | None = None
    cors: bool = False
    access_log: bool = False
    sagemaker_multi_model: bool = False
    upload_endpoint_url: str | None = None
    link_seconds: Positive = 3600
    drain_seconds: float = 1.0
    log_level: LogLevel = "INFO"

    @property
    def pinned(self) -> frozenset[str]:
        """The names in ``pinned_models``."""
        return frozenset(name.strip() for name in self.pinned_models.split(",") if name.strip())
