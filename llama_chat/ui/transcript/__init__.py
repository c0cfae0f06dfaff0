"""The rooms behind the transcript: what an entry is, how high it is, how its rows are painted and copied."""
