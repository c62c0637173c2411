"""One modality in, predictions out.

- `predictor`: a system of a run, as arrays and plain values; `opening`: loads one from
  a run directory; `inputs`: takes features in any form; `clips`: extracts those of
  recordings, with the extra `features`; `files`: predicts files and folders.
- `bundle`: a predictor as one file; `card`: its model card; `exporting`: writes a run
  in any form.
- `running`: chains of layers in JAX; `streaming`: frame by frame; `onnx_graph`,
  `stablehlo`: for other programs; `standardising`: in float32 alone.
- `service` and `page.html`: a local page; `estimators`: for scikit-learn.
- `shared_space`: measures where modalities meet.
"""
