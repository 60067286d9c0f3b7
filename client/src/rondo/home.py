"""Where a client keeps what must outlive a restart: its key, its identity, its unjudged update.

``<root>/<gateway host and port>/<model>-<name>/`` with the root RONDO_HOME or ``~/.rondo``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from rondo.files import write_whole
from rondo_core.errors import Invalid, NotFound
from rondo_core.events import Name

__all__ = ["Home", "Identity", "find_home", "gateway_folder", "home_root", "plain_name"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this client is at its gateway.

    Attributes:
        gateway: its address.
        client_id: what the gateway calls this client.
        model: what it works for.
        name: what it calls itself.
        invite: SHA-256 of the code that was spent.
    """

    gateway: str
    client_id: str
    model: str
    name: str
    invite: str


def plain_name(what: str, text: str) -> str:
    """Let nothing into a path or a URL that is not a plain name, whoever sent it.

    Raises:
        Invalid: says what is wrong with which name.

    >>> plain_name("run", "../../etc")
    Traceback (most recent call last):
    ...
    rondo_core.errors.Invalid: run '../../etc' is not 1-64 letters, digits, '.', '_' or '-', ...
    """
    try:
        return msgspec.convert(text, type=Name)
    except msgspec.ValidationError:
        rule = "1-64 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise Invalid(f"{what} {text!r} is not {rule}") from None


def home_root(environ: Mapping[str, str]) -> Path:
    """Return the folder of everything that the SDK keeps."""
    chosen = environ.get("RONDO_HOME", "")
    return Path(chosen) if chosen else Path.home() / ".rondo"


def gateway_folder(root: Path, url: str) -> Path:
    """Return the folder of a gateway; a port is part of its name, since many stacks share a host.

    >>> gateway_folder(Path("r"), "http://127.0.0.1:8080").as_posix()
    'r/127.0.0.1_8080'
    """
    parsed = httpx.URL(url)
    port = "" if parsed.port is None else f"_{parsed.port}"
    return root / f"{parsed.host.replace(':', '_')}{port}"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one client of one gateway."""

    path: Path

    @property
    def key(self) -> Path:
        """The private key; it never leaves this machine."""
        return self.path / "key.pem"

    @property
    def lock(self) -> Path:
        """Held while the client trains."""
        return self.path / "lock"

    @property
    def progress(self) -> Path:
        """What the client did so far in the run that it is in."""
        return self.path / "run.json"

    @property
    def versions(self) -> Path:
        """Downloaded base versions, each named by its digest."""
        return self.path / "versions"

    @property
    def updates(self) -> Path:
        """Updates that nobody has judged yet: one folder each."""
        return self.path / "updates"

    @property
    def controls(self) -> Path:
        """SCAFFOLD's control variates, in the run that the client is in."""
        return self.path / "controls"

    @property
    def residuals(self) -> Path:
        """What top-k has left out so far, in the run that the client is in."""
        return self.path / "residuals"

    def load_identity(self) -> Identity | None:
        """Return who the client is, or None before it has enrolled.

        Raises:
            Invalid: the file is not one that `save_identity` wrote.
        """
        path = self.path / "identity.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Identity)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as exc:
            raise Invalid(f"{path}: {exc}") from exc

    def save_identity(self, identity: Identity) -> None:
        """Keep who the client is."""
        write_whole(self.path / "identity.json", msgspec.json.encode(identity))


def find_home(folder: Path, name: str, model: str | None) -> Home:
    """Return the home of a client that has enrolled before.

    Args:
        folder: of the gateway.
        name: as given when it enrolled.
        model: None if there is only one model that a client of this name works for.

    Raises:
        NotFound: there is none.
        Invalid: there are several, and no model was named.
    """
    found = {
        identity.model: home
        for home in map(Home, sorted(folder.glob(f"*-{name}")))
        if (identity := home.load_identity()) is not None
        and identity.name == name
        and model in {None, identity.model}
    }
    if not found:
        where = f" for model {model!r}" if model else ""
        raise NotFound(f"{name!r} has not joined{where} at {folder.name}: an invite is needed")
    if len(found) > 1:
        raise Invalid(f"{name!r} works for {', '.join(found)}: say which model")
    return next(iter(found.values()))
