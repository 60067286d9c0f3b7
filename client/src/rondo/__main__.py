"""``python -m rondo``: the ``rondo`` command where scripts are not on the path."""

from rondo.cli import main

if __name__ == "__main__":
    main()
