"""Readers of public corpora as distributed, and a synthetic corpus.

They are one level below `ifusion.corpora`, whose attributes of the same names, such as
`ifusion.corpora.ravdess`, are functions.
"""
