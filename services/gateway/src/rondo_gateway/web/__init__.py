"""The door itself: routes, credentials, bodies, problems, and the watcher behind long polls."""

__all__: list[str] = []
