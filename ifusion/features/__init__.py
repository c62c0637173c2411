"""Recordings to features, and features to a folder that `read_corpus` reads.

Nothing here knows about training: what comes out is a corpus in the open folder format.
The libraries are an extra, `pip install -e ".[features]"`, and are loaded on first use.

- `media`: a file to sound and pictures with their times.
- `audio`: sound to eGeMAPS, for an utterance, for windows or every 10 ms.
- `mtcnn`, `mtcnn_weights`: pictures to faces; `faces`: one face through a recording.
- `landmarks`: a face to 49 points; `geometry`: points to the features of AVEC 2016.
- `vgg_face`, `vgg_weights`: faces to VGG-Face fc7; `onnx_model`: to your own embedding;
  `layers`: what the networks here share; `windows`: features at other rates.
- `extracted`: tables that openSMILE and OpenFace wrote.
- `labels`: recordings and what to predict, from a CSV file; `ravdess_files`,
  `omg_videos`: from two known corpora; `traces`: labels over time; `file_index`: files
  by name.
- `download`: RAVDESS from its archive.
- `extractors`: what an extractor is; `audio_extractors`, `video_extractors`: all there
  are.
- `extraction`: many files, in parallel and with a cache; `corpus_folder`: the result as
  a corpus; `pipeline`: all steps together.
- `reuse`: one more recording, extracted as a corpus was.
"""
