"""What comes next in a round: opens it, chooses clients, seals or aborts it, answers its tokens."""

__all__: list[str] = []
