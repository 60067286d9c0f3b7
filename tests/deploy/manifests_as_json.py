"""Print the documents of YAML files as JSON, and what KEDA's types say of KEDA's among them.

``python manifests_as_json.py FILE...``, run in the environment of ``kubernetes_tools``: prints for
each file ``{"documents": [...], "faults": {"KIND/NAME": "what is wrong"}}``. A field that KEDA does
not know is wrong too: the cluster would drop it without a word.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]  # of that environment alone


def fault(document: dict[str, Any]) -> str:
    """Say what is wrong with one of KEDA's resources, or nothing."""
    # Takes a second to import, and most files need it not.
    types = importlib.import_module("cloudcoil.models.keda.v1alpha1")
    model = getattr(types, document["kind"], None)
    if model is None:
        return "no such kind"
    try:
        read = model.model_validate(document, strict=True)
    except ValueError as exc:
        return str(exc)
    known = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    unknown = sorted(set(fields(document)) - set(fields(known)))
    return f"no such field: {', '.join(unknown)}" if unknown else ""


def fields(value: object, path: str = "") -> list[str]:
    """Return the path of every field, with those in lists."""
    match value:
        case dict():
            below = [(f"{path}.{name}", one) for name, one in value.items()]
        case list():
            below = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
        case _:
            return []
    return [name for name, _ in below] + [name for at, one in below for name in fields(one, at)]


def judged(file: str) -> dict[str, object]:
    """Read a file and judge it."""
    documents = [one for one in yaml.safe_load_all(Path(file).read_text("utf-8")) if one]
    ours = [one for one in documents if str(one.get("apiVersion", "")).startswith("keda.sh/")]
    faults = {f"{one['kind']}/{one['metadata']['name']}": fault(one) for one in ours}
    bad = {name: text for name, text in faults.items() if text}
    return {"documents": documents, "faults": bad}


if __name__ == "__main__":
    sys.stdout.write(json.dumps([judged(file) for file in sys.argv[1:]], default=str))
