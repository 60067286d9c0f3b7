"""Imports the modules named as arguments and prints one line per fault; a program, see its test.

A fault: the import fails, asks for the network, or reads the environment from our own code.
"""

import importlib
import os
import sys

_THROUGH = {
    "_collections_abc",
    "collections.abc",
    "os",
    __name__,
}  # what stands between a reader and os.environ

_IPV6_PROBE = ("::1", 0)  # urllib3 binds this once to learn whether the machine has IPv6

_faults: list[str] = []
_importing = ""


class _Watched(type(os.environ)):  # type: ignore[misc]  # a class that only the running os has
    """The environment, noting which of our modules asks for a name."""

    def __getitem__(self, name: str) -> str:
        frame = sys._getframe(1)  # noqa: SLF001 - the only way to learn who asks
        while frame.f_back is not None and frame.f_globals.get("__name__") in _THROUGH:
            frame = frame.f_back
        reader = str(frame.f_globals.get("__name__"))
        if reader.partition(".")[0].partition("_")[0] == "rondo":
            _faults.append(f"{reader} reads {name} from the environment")
        return str(super().__getitem__(name))


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.bind" and arguments[1] == _IPV6_PROBE:
        return
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind"}:
        _faults.append(f"{_importing} uses the network: {event} {arguments[1:]}")
        raise ConnectionRefusedError(event)


def main(names: list[str]) -> None:
    """Import each module in turn."""
    global _importing  # noqa: PLW0603 - the audit hook has no other way to know
    os.environ.__class__ = _Watched
    sys.addaudithook(_refuse_network)
    for name in names:
        _importing = name
        try:
            importlib.import_module(name)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
            _faults.append(f"{name} cannot be imported: {exc!r}")
    sys.stdout.write("".join(f"{fault}\n" for fault in _faults))


if __name__ == "__main__":
    main(sys.argv[1:])
