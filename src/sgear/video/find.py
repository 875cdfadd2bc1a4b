"""Where the videos of a corpus lie: video files, folders of numbered images, and tar files of them, by video id.

The id is the name of the file without its ending, or the name of the folder, in Unicode's composed form: file systems
and annotations may spell an accented letter in one character or in two. Looking for videos opens none of them, and of a
folder of images it only lists the names: 100,000 of them take less than 0.1 s.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from sgear.errors import VideoError
from sgear.files import plain

VIDEO_ENDINGS = (
    *(".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".3gp", ".wmv", ".flv"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob"),
)
"""Endings of video files, in lower case; any case is found."""
TAR_ENDING = ".tar"
FLOW_FOLDERS = frozenset({"flow_frames", "flow"})
"""Folders that hold optical flow under the same ids as the images; no videos are looked for in them."""

_IMAGE = re.compile(r"(?P<prefix>.*?)\d+\.(jpe?g|png)", re.IGNORECASE)
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_OTHER_VIDEOS = (*VIDEO_ENDINGS, TAR_ENDING)
_LOST_AND_FOUND = "lost+found"
_NUM_SAMPLED = 32
_NUM_NAMED = 5


@dataclass
class PassedOver:
    """What a scan for videos did not take.

    Args:
        endings: Number of files that are no videos, by their ending.
        num_image_videos: Number of videos made of images, where only video files are wanted.
    """

    endings: Counter[str] = field(default_factory=Counter)
    num_image_videos: int = 0

    def __str__(self) -> str:
        parts = []
        if self.endings:
            most = self.endings.most_common(_NUM_NAMED)
            named = ", ".join(f"{ending or 'without ending'} {number:,}" for ending, number in most)
            more = ", ..." if len(self.endings) > _NUM_NAMED else ""
            parts.append(f"{counted(self.endings.total(), 'file')} ({named}{more})")
        if self.num_image_videos:
            parts.append(f"{counted(self.num_image_videos, 'video')} made of images")
        return " and ".join(parts)


def counted(number: int, thing: str) -> str:
    """Return `1 video`, `2 videos`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def composed(name: str) -> str:
    """Return a name in the one form in which names that look equal are equal."""
    # As names in a csv are read, which strips them, too.
    return plain(name).strip()


def scan_videos(
    root: Path, wanted: Collection[str] | None = None, *, passed_over: PassedOver | None = None
) -> dict[str, list[Path]]:
    """Return every video below a folder by its video id.

    Links to folders are followed. Hidden files and folders are skipped, and so is `FLOW_FOLDERS`. A folder of
    numbered images with videos or folders in it is no video itself; those in it are looked for.

    Args:
        root: Folder; videos may lie at any depth.
        wanted: Ids to look for; they are returned as they are spelled here. Default: all. Without it, a tar file is
            looked into, to see whether it holds images.
        passed_over: Takes note of the files that are no videos.

    Returns:
        For each id the places of its videos, sorted; links to one file count once.

    Raises:
        VideoError: If there is no such folder, or one in it cannot be listed.
    """
    if not _is_folder(root):
        raise VideoError(f"{root}: no such folder of videos. Check the path.")
    found: dict[str, list[Path]] = defaultdict(list)
    others = PassedOver() if passed_over is None else passed_over
    spelled: dict[str, list[str]] | None = None
    if wanted is not None:
        spelled = defaultdict(list)
        for video_id in wanted:
            spelled[composed(video_id)].append(video_id)
    for name, path in _videos_below(root, spelled, others.endings):
        for video_id in [name] if spelled is None else spelled.get(name, []):
            found[video_id].append(path)
    return {video_id: _distinct(paths) for video_id, paths in sorted(found.items())}


def find_videos(
    video_ids: Sequence[str],
    roots: Sequence[Path],
    *,
    remedy: str = "",
    remedy_for_some: str = "",
    allows_missing: bool = False,
) -> dict[str, Path]:
    """Return the video of each video id from the first root that holds it.

    Args:
        video_ids: Ids to find.
        roots: Folders, searched in this order; one that is not there holds nothing.
        remedy: What else the reader of an error may do, e.g. which setting names the roots.
        remedy_for_some: What else helps where other videos are there.
        allows_missing: Leave out the videos that are under no root, as long as there are others.

    Raises:
        VideoError: If a video is under no root; counts the missing ones, names the first and all roots. If an id has
            two videos under the root that holds it; names both. If a folder cannot be listed.
    """
    missing = dict.fromkeys(video_ids)
    places: dict[str, Path] = {}
    for root in dict.fromkeys(roots):
        if not missing or not _is_folder(root):
            continue
        for video_id, videos in scan_videos(root, missing).items():
            if len(videos) > 1:
                raise VideoError(
                    f"{videos[0]} and {videos[1]} are both of video {video_id!r}, under one folder of videos ({root}); "
                    f"remove one of them{f', or {remedy}' if remedy else ''}"
                )
            places[video_id] = videos[0]
            del missing[video_id]
    if missing and not (allows_missing and places):
        remedies = [text for text in (remedy or "name its folder", remedy_for_some if places else "") if text]
        raise VideoError(_missing_message(list(missing), len(set(video_ids)), roots, ", or ".join(remedies)))
    return {video_id: places[video_id] for video_id in video_ids if video_id in places}


def list_videos(places: Sequence[Path]) -> dict[str, Path]:
    """Return the videos in folders and below, and videos named themselves, by video id.

    A folder that is itself full of numbered images is a video.

    Raises:
        VideoError: If a place does not exist, there is no video, two videos have one id, or a folder cannot be listed.
    """
    videos: dict[str, Path] = {}
    for place in places:
        is_folder = _is_folder(place)
        if not is_folder and not place.exists():
            raise VideoError(f"{place}: no such video or folder")
        if is_frame_folder(place):
            found = {composed(place.resolve().name): [place]}
        else:
            found = scan_videos(place) if is_folder else {composed(place.stem): [place]}
        for video_id, paths in found.items():
            both = [*([videos[video_id]] if video_id in videos else []), *paths]
            if len(both) > 1:
                raise VideoError(f"{both[0]} and {both[1]} are both of video {video_id!r}; give only one of them")
            videos[video_id] = both[0]
    if not videos:
        raise VideoError(
            f"{', '.join(map(str, places))}: no videos ({', '.join(VIDEO_ENDINGS)}, folders of numbered images, or "
            f"{TAR_ENDING} of them) there"
        )
    return videos


def is_frame_folder(path: Path) -> bool:
    """Return whether a path is a folder that begins with numbered images, and has no video and no folder in it.

    Raises:
        VideoError: If the folder cannot be listed.
    """
    if not _is_folder(path):
        return False
    with closing(_entries(path)) as entries:
        return _are_images(list(islice(entries, _NUM_SAMPLED))) and not any(map(_may_hold_video, entries))


def needs_rate(path: Path) -> bool:
    """Return whether a video is made of numbered images, which do not say at which rate they were taken."""
    return path.suffix.lower() == TAR_ENDING or _is_folder(path)


def _videos_below(root: Path, wanted: Container[str] | None, others: Counter[str]) -> Iterator[tuple[str, Path]]:
    visited: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            stat = folder.stat()
        except OSError as err:
            raise _unlistable(folder, err) from err
        if (stat.st_dev, stat.st_ino) in visited:
            continue
        visited.add((stat.st_dev, stat.st_ino))
        with closing(_entries(folder)) as entries:
            first = list(islice(entries, _NUM_SAMPLED))
            if _are_images(first):
                # Stills may lie beside videos, and come before them.
                stills = Counter(_ending(entry) for entry in first if not entry.name.startswith("."))
                video = _first_video(entries, stills)
                if video is None:
                    yield composed(folder.name), folder
                    continue
                others.update(stills)
                first = [video]
            for entry in chain(first, entries):
                if entry.name.startswith("."):
                    continue
                if _leads_to_folder(entry):
                    if entry.name not in FLOW_FOLDERS:
                        pending.append(Path(entry.path))
                elif _is_video(entry, wanted):
                    yield composed(Path(entry.name).stem), Path(entry.path)
                else:
                    others[_ending(entry)] += 1


def _first_video(entries: Iterator[os.DirEntry[str]], others: Counter[str]) -> os.DirEntry[str] | None:
    """Return the first entry that may be or hold a video, and count those before it."""
    for entry in entries:
        if _may_hold_video(entry):
            return entry
        others[_ending(entry)] += not entry.name.startswith(".")
    return None


def _is_video(entry: os.DirEntry[str], wanted: Container[str] | None) -> bool:
    ending = _ending(entry).lower()
    return ending in VIDEO_ENDINGS or (ending == TAR_ENDING and _is_video_tar(Path(entry.path), wanted))


def _ending(entry: os.DirEntry[str]) -> str:
    return os.path.splitext(entry.name)[1]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as err:
        raise _unlistable(path, err) from err


def _entries(folder: Path) -> Generator[os.DirEntry[str], None, None]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as err:
        # Every disk has one; it belongs to the system.
        if folder.name != _LOST_AND_FOUND:
            raise _unlistable(folder, err) from err


def _unlistable(path: Path, err: OSError) -> VideoError:
    return VideoError(
        f"{path}: cannot be looked into ({err.strerror}); check its permissions and those of its folders, or name "
        "other folders of videos"
    )


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself or into a closed folder is a broken link, which is no folder.
        return False


def _may_hold_video(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a video or a folder by its name and kind, which a listing tells at no cost."""
    if entry.name.startswith("."):
        return False
    name = entry.name.lower()
    # Images may be links, and following 100,000 of them would take a while.
    return name.endswith(_OTHER_VIDEOS) or (not name.endswith(_IMAGE_ENDINGS) and _leads_to_folder(entry))


def _are_images(entries: list[os.DirEntry[str]]) -> bool:
    seen = [entry for entry in entries if not entry.name.startswith(".")]
    matches = [_IMAGE.fullmatch(entry.name) for entry in seen]
    # One prefix: stills that lie beside the videos of several people are no frames.
    is_numbered = all(matches) and len({match["prefix"] for match in matches if match is not None}) == 1
    return is_numbered and not any(map(_leads_to_folder, seen))


def _is_video_tar(path: Path, wanted: Container[str] | None) -> bool:
    if wanted is not None:
        return composed(path.stem) in wanted
    if not path.is_file():
        # A pipe would hang: reading it as a video refuses it.
        return True
    try:
        with tarfile.open(path, "r:") as archive:
            names = (Path(member.name).name for member in islice(archive, _NUM_SAMPLED) if member.isfile())
            return any(_IMAGE.fullmatch(name) for name in names)
    except (OSError, tarfile.TarError):
        # Not for its ending alone: reading it as a video says what is wrong with it.
        return True


def _distinct(paths: list[Path]) -> list[Path]:
    if len(paths) == 1:
        return paths
    # Unlike the method of a path it raises nothing for a link to itself.
    return sorted({os.path.realpath(path): path for path in sorted(paths, reverse=True)}.values())


def _missing_message(missing: list[str], num_asked: int, roots: Sequence[Path], remedy: str) -> str:
    more = f" and {len(missing) - _NUM_NAMED} more" if len(missing) > _NUM_NAMED else ""
    named = ", ".join(repr(video_id) for video_id in missing[:_NUM_NAMED])
    places = [f"{root}" if root.is_dir() else f"{root} (no such folder)" for root in dict.fromkeys(roots)]
    searched = "".join(f"\n  {place}" for place in places) or " no folder at all"
    return (
        f"{len(missing)} of {num_asked} annotated videos are missing: {named}{more}. Put each under one of the folders "
        f"below as {missing[0]}.mp4 (or {', '.join(VIDEO_ENDINGS[1:4])}, ...), as a folder {missing[0]} of numbered "
        f"images or as {missing[0]}{TAR_ENDING}; or {remedy}, or remove the annotation rows. Searched, in this order:"
        f"{searched}"
    )
