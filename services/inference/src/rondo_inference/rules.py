"""What the settings mean to each part, and which of them cannot be meant."""

from rondo_core.errors import SettingsInvalid
from rondo_inference.contracts.media import FileRules
from rondo_inference.settings import Settings
from rondo_inference.web.app import AppRules
from rondo_inference.web.budget import Budget
from rondo_inference.web.shared import ConnectionRules

__all__ = ["app_rules", "body_budget", "connection_rules", "file_rules"]


def file_rules(settings: Settings) -> FileRules:
    """Return what files may be."""
    return FileRules(max_bytes=settings.max_body_bytes, fit=settings.picture_size)


def app_rules(settings: Settings) -> AppRules:
    """Return how requests are treated."""
    return AppRules(
        max_body_bytes=settings.max_body_bytes,
        max_requests=settings.max_requests,
        cors=settings.cors,
        access_log=settings.access_log,
    )


def body_budget(settings: Settings) -> Budget:
    """Return what all bodies may have together.

    Raises:
        SettingsInvalid: the longest body that is allowed would not fit.
    """
    one, all_of_them = settings.max_body_bytes, settings.max_buffered_bytes
    if all_of_them < one:
        raise SettingsInvalid([f"MAX_BUFFERED_BYTES={all_of_them} is below MAX_BODY_BYTES={one}"])
    return Budget(all_of_them)


def connection_rules(settings: Settings) -> ConnectionRules:
    """Return the bounds of connections."""
    return ConnectionRules(
        max_body_bytes=settings.max_body_bytes,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        write_seconds=settings.write_seconds,
        max_connections=settings.max_connections,
    )
