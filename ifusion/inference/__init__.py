"""One modality in, predictions out.

- `predictor`: a system of a run, as arrays and plain values; `inputs`: features in any
  form; `opening`: from a run directory; `files`: predictions for files and folders.
- `bundle`: a predictor as one file; `card`: what it is made of and not for;
  `exporting`: a run to a file of any form.
- `running`: chains of layers in JAX; `streaming`: frame by frame; `onnx_graph`,
  `stablehlo`: for other programs; `standardising`: in float32 alone.
- `service` and `page.html`: a local page; `estimators`: the face of scikit-learn.
- `shared_space`: where modalities meet, an analysis of a run.
"""
