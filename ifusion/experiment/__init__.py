"""The engine: from a corpus to scores, by one path for every system.

Folds of the corpus (`corpora.splits`); settings chosen on dev, then every requested
system fitted and its candidates chosen on dev (`engine`); lanes trained, saved and
shared out in one place (`trainer`); what came out kept in a run directory (`store`,
`fitted`). `options` holds all that a user may set; nothing here reads a flag.
"""
