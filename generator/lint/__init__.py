"""What the server would say about a model repository at load, and what it would not say, without a server.

`check.check` judges repositories; each rule is a small function under `rules/`; `run.lint` sorts out what a user
names.
"""
