"""The engine: from a corpus to scores, by one path for every system.

The corpus is split into folds (`corpora.splits`); `engine` chooses settings on dev,
fits every system and chooses among its candidates on dev; `trainer` trains, saves and
shares out lanes; `store` and `fitted` keep the results in a run directory. `options`
holds all that a user may set; nothing here reads a flag.
"""
