"""Recordings to features, and features to a folder that `read_corpus` reads.

Nothing here knows of training: what comes out is a corpus in the open folder format.
The libraries are an extra, `pip install -e ".[features]"`, and are loaded on first use.

- `media`: a file to sound and pictures with their times.
- `audio`: sound to eGeMAPS, of an utterance, of windows or frame by frame.
- `mtcnn`, `mtcnn_weights`: pictures to faces; `faces`: one face through a recording.
- `landmarks`: a face to 49 points; `geometry`: points to the 316 and 632 features of
  AVEC 2016.
- `vgg_face`, `vgg_weights`: faces to VGG-Face fc7; `onnx_model`: to your own embedding.
- `extracted`: tables that openSMILE and OpenFace wrote.
- `labels`: what is to be predicted, of a CSV file or of names as those of RAVDESS;
  `omg_videos`: of OMG-Emotion; `traces`: over time; `file_index`: files by name.
- `download`: RAVDESS from its archive.
- `extractors`: what an extractor is; `audio_extractors`, `video_extractors`: which
  there are.
- `extraction`: many files, in parallel and with a cache; `corpus_folder`: what was
  extracted to a corpus; `pipeline`: all steps together.
- `reuse`: one more recording, as a corpus was extracted.
"""
