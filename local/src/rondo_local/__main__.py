"""``python -m rondo_local``."""

from rondo_local.cli import main

main()
