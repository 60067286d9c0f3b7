"""What an inference process is told by its environment."""

from dataclasses import dataclass

from rondo_core.settings import AwsSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(AwsSettings):
    """Settings of one inference process.

    Attributes:
        host: address to listen on; containers set 0.0.0.0.
        port: its port; SageMaker wants 8080.
        model_refresh_seconds: how often the alias rows are read.
        max_body_bytes: a longer request body is refused with 413 (SageMaker allows 25 MB).
        threads: predictions that are computed at a time; 0: as many as there are CPUs.
        intra_op_threads: that one prediction uses. With two CPUs one gives a quarter more requests
            a second than two, and no later answer to a single caller.
        drain_seconds: how long requests are still accepted after SIGTERM, while readiness says no.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    model_refresh_seconds: float = 1.0
    max_body_bytes: int = 25 * 1024 * 1024
    threads: int = 0
    intra_op_threads: int = 1
    drain_seconds: float = 1.0
    log_level: str = "INFO"
