"""One model's page: its forms, and what it said."""

from collections.abc import Mapping
from dataclasses import dataclass

from rondo_core.input_schema import ImageInput
from rondo_inference.contracts.messages import Answer
from rondo_inference.contracts.table import DoorRules
from rondo_inference.page.forms import Sent, fields, has_canvas
from rondo_inference.page.outcomes import Outcome
from rondo_inference.page.pages import Pages
from rondo_inference.page.views import choices, sample_body, takes_and_gives
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = ["ModelPage", "Said"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What stands in the place of the answer.

    Attributes:
        outcome: of rows; None: there is none.
        text: of a model that is only tensors.
        error: why there is no answer.
    """

    outcome: Outcome | None = None
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Makes the page of any model.

    Attributes:
        pages: the templates.
        catalogue: knows the other versions.
        rules: see there.
    """

    pages: Pages
    catalogue: Catalogue
    rules: DoorRules

    def show(
        self,
        served: ServedModel,
        *,
        sent: Sent | None = None,
        said: Said | None = None,
        chosen: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the page.

        Args:
            served: the version that the page is about, and that answered.
            sent: what was sent; the forms keep it, but for files.
            said: the answer to it.
            chosen: the version that was asked for by number; None: by the traffic rule.
            status: of the answer.
            headers: of the answer, beside the page's own.
        """
        return self.pages.html(
            "model.html",
            status=status,
            headers=headers,
            served=served,
            about=takes_and_gives(served),
            choices=choices(self.catalogue, served.name),
            chosen=chosen,
            sent=sent,
            said=said or Said(),
            max_bytes=self.rules.max_body_bytes,
            max_mib=self.rules.max_body_bytes / _MIB,
            keeps_jobs=self.rules.orders is not None,
            **self._forms(served, sent),
        )

    def _forms(self, served: ServedModel, sent: Sent | None) -> dict[str, object]:
        """Return the form of one row, of pictures, or of tensors: whichever the version takes."""
        spec, kind = served.spec, sent.kind if sent is not None else None
        found: dict[str, object] = {"fields": (), "columns": 0, "image": None, "body": ""}
        if spec is None:
            body = sent.values.get("body", "") if sent is not None else ""
            return found | {"body": body or sample_body(served.signature)}
        if isinstance(spec.input, ImageInput):
            resize = self.rules.files.fit == "resize"
            if sent is not None and kind == "pictures":
                resize = "resize" in sent.values
            canvas = has_canvas(spec.input)
            return found | {"image": spec.input, "canvas": canvas, "resize": resize}
        row = sent.row if sent is not None and kind == "row" else None
        filled = fields(spec, spec.input, row)
        return found | {"fields": filled, "columns": len(spec.input.columns)}
