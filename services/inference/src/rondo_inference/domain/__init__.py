"""What requests mean, how answers look, when to try again: values in, values out."""

__all__: list[str] = []
