"""Reads a file into a checked table: CSV, ARFF, Parquet, npz, npy or HDF5.

`table` is the result, `reading` makes it from any format, `checks` refuses what no
corpus can hold. `delimited`, `arff`, `parquet` and `arrays` know one format each.
"""
