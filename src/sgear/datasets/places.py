"""Where the films and stored features of a data set usually lie: in its own folder, and as the original release had it.

`SGEAR_DATA` names one folder for all data (`data` where it is not set). The original README calls it DATA/, and its
tree is found as it stands: videos/, external/ and extracted_features/.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DATA_VARIABLE = "SGEAR_DATA"

_EPIC55_FILMS = ("videos/EpicKitchens/videos_ht256px/train", "videos/EpicKitchens/videos_ht256px/test")


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """Folders of the original release.

    Args:
        films: Folders of films.
        features: Folders around stored features.
    """

    films: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


_EPIC100 = _Shared(
    films=(*_EPIC55_FILMS, "videos/EpicKitchens100/videos_extension_ht256px"),
    features=("external/rulstm/RULSTM/ek100_data_full", "extracted_features/ek100"),
)
_EPIC55 = _Shared(films=_EPIC55_FILMS, features=("external/rulstm/RULSTM/data_full", "extracted_features/ek55"))
_EGTEA = _Shared(films=("videos/EGTEA/101020/videos",))
_SALADS50 = _Shared(films=("videos/50Salads/rgb",))
_SHARED = {
    "epic100": _EPIC100,
    "rulstm-ek100": _EPIC100,
    "epic55": _EPIC55,
    "rulstm-ek55": _EPIC55,
    "egtea": _EGTEA,
    "rulstm-egtea": _EGTEA,
    "salads50": _SALADS50,
    "salads50-avt": _SALADS50,
    "salads50-tcn": _SALADS50,
}
_FOLDER_NAMES = {"salads50": "50salads", "salads50-avt": "50salads", "salads50-tcn": "50salads"}


def data_folder() -> Path:
    """Return the folder of all data: SGEAR_DATA, or `data`."""
    return Path(os.environ.get(DATA_VARIABLE) or "data")


def dataset_folder(name: str, root: str = "") -> Path:
    """Return the folder of one data set: `root`, or the folder of its name under SGEAR_DATA."""
    return Path(root) if root else data_folder() / _FOLDER_NAMES.get(name, name)


def film_places(name: str, root: str = "") -> tuple[Path, ...]:
    """Return where films of a data set are looked for, in this order.

    First the data set's folder, then SGEAR_DATA, each in the original README's layout:

    - epic100: `videos/EpicKitchens/videos_ht256px/train`, `.../test`,
      `videos/EpicKitchens100/videos_extension_ht256px`;
    - epic55: the first two of these;
    - egtea: `videos/EGTEA/101020/videos`;
    - salads50, salads50-avt: `videos/50Salads/rgb`;

    and `videos` of the data set's folder between the two. The rulstm-* data sets share the places of their films.

    Args:
        name: Name of the data set.
        root: Its folder. Default: the folder of its name under SGEAR_DATA.
    """
    own = dataset_folder(name, root)
    shared = _SHARED.get(name, _Shared()).films
    return _each_once([*(own / part for part in shared), own / "videos", *(data_folder() / part for part in shared)])


def feature_places(name: str, root: str = "") -> tuple[Path, ...]:
    """Return the folders in which stored features of a data set are looked for by name, in this order.

    First `features` of the data set's folder; then, in that folder and under SGEAR_DATA, as in the original README:

    - epic100: `external/rulstm/RULSTM/ek100_data_full` (rgb, flow, obj) and `extracted_features/ek100` (igm);
    - epic55: `external/rulstm/RULSTM/data_full` and `extracted_features/ek55`.

    Args:
        name: Name of the data set.
        root: Its folder. Default: the folder of its name under SGEAR_DATA.
    """
    own = dataset_folder(name, root)
    shared = _SHARED.get(name, _Shared()).features
    return _each_once([own / "features", *(base / part for base in (own, data_folder()) for part in shared)])


def _each_once(places: list[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(places))
