"""What the gateway reads from its environment."""

from dataclasses import dataclass

from rondo_core.settings import AwsSettings, LogLevel, Port

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(AwsSettings):
    """Environment variables of the gateway, named like the fields in capitals.

    Attributes:
        host: address to listen on; containers set 0.0.0.0.
        port: its port; health checks and metrics are answered there too.
        upload_endpoint_url: the store's address as clients reach it, since presigned URLs sign the
            host; None means ``aws_endpoint_url``.
        watch_seconds: shortest time between two looks at the table while clients wait.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    upload_endpoint_url: str | None = None
    watch_seconds: float = 0.05
    log_level: LogLevel = "INFO"
