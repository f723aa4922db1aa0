"""A user's files -> checked, prepared rows. Never imports torch.

check.py: read, check, account -> (tokens, by the engine's worker) -> split.py -> register.py

Nothing is imported here: processes that only read rows start in a fraction of the time.
"""
