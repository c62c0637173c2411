"""What the programs in `experiments/` share: flags, devices, errors in one sentence.

The only module that knows absl and ml_collections. `startup` is imported first; nothing
here loads JAX or pandas before a program's flags are read.
"""
