"""Where the packages of this checkout are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def packages() -> list[Path]:
    """Folder of each import package, sorted by its name."""
    projects = sorted(ROOT.glob("*/pyproject.toml")) + sorted(ROOT.glob("*/*/pyproject.toml"))
    inits = [init for project in projects for init in project.parent.glob("src/*/__init__.py")]
    return sorted((init.parent for init in inits), key=lambda folder: folder.name)


def modules(package: Path) -> list[str]:
    """Dotted name of each module of a package, sorted; programs (``__main__``) left out."""
    files = [file for file in package.rglob("*.py") if file.name != "__main__.py"]
    return sorted(_dotted(file.relative_to(package.parent)) for file in files)


def _dotted(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")
