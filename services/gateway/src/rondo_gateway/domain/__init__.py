"""Pure decisions of the gateway: values in, value out."""

__all__: list[str] = []
