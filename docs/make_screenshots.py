"""Take the pictures of docs/images/ with Chromium: run `make demo` first.

``python docs/make_screenshots.py`` needs a Chromium on PATH (Debian: ``apt-get install chromium``).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = {"demo.png": (ROOT / "build" / "demo" / "report.html", "900,860")}
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def take(chromium: str, page: Path, size: str, target: Path) -> None:
    """Write one picture of a page.

    Args:
        chromium: path of the browser.
        page: a file that needs no other one.
        size: ``width,height`` of the window in pixels.
        target: the PNG.
    """
    with tempfile.TemporaryDirectory() as profile:
        argv = [
            chromium,
            *QUIET,
            f"--user-data-dir={profile}",
            f"--window-size={size}",
            f"--screenshot={target}",
            page.as_uri(),
        ]
        subprocess.run(argv, check=True, capture_output=True)  # noqa: S603  (a list of our own)


def main() -> int:
    """Take all pictures; return the exit code."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("there is neither chromium nor google-chrome on PATH", file=sys.stderr)
        return 1
    for name, (page, size) in PICTURES.items():
        if not page.exists():
            print(f"{page.relative_to(ROOT)} is not there: run `make demo` first", file=sys.stderr)
            return 1
        target = ROOT / "docs" / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        take(chromium, page, size, target)
        print(target.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
