"""Whether timm's published weights can be had, asked before anything long begins."""

from __future__ import annotations

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from sgear.errors import ConfigError
from sgear.torchvision_guard import import_timm

_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 10.0


def require_published_weights(name: str) -> None:
    """Check that the published weights of a timm model are on this machine, or that their hub can be reached.

    It asks once. The download itself tries for a minute before it gives up.

    Args:
        name: Full name of the model.

    Raises:
        ConfigError: If they are not here and the hub does not answer; says where they are and how to give a file.
    """
    published = import_timm().models.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        return
    repo, _, revision = published.hf_hub_id.partition("@")
    files = (published.hf_hub_filename,) if published.hf_hub_filename else _FILES
    if any(isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str) for file in files):
        return
    url = hf_hub_url(repo, files[0], revision=revision or None)
    try:
        get_hf_file_metadata(url, timeout=_TIMEOUT_S)
    except HfHubHTTPError:
        # The hub answers; what is wrong there, the download says better.
        return
    except Exception as err:
        # Which error a dead connection gives depends on the library that the hub uses.
        raise ConfigError(
            f"model.encoder.pretrained=true needs the published weights of {name}, which are not on this machine, and "
            f"the hub cannot be reached ({err}). Fetch {url} elsewhere and give the file: "
            "model.encoder.pretrained=false model.encoder.weights=FILE"
        ) from err
