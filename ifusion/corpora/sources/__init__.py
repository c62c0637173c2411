"""Readers of public corpora in the form they are distributed in, and a synthetic one.

They live one level below `ifusion.corpora`, whose attributes of the same names, such as
`ifusion.corpora.ravdess`, are functions.
"""
