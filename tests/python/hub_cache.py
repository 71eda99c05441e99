"""What Python's huggingface_hub makes of a cache, and a cache of its making.

    hub_cache.py reads OWNER/NAME FOLDER   without asking the hub, every file of the cache is FOLDER's
    hub_cache.py lacks OWNER/NAME FILE     the cache does not have the file
    hub_cache.py downloads OWNER/NAME      from the hub of HF_ENDPOINT
"""

import sys
from pathlib import Path

from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError


def reads(repository, folder):
    snapshot = Path(snapshot_download(repository, local_files_only=True))
    expected = sorted(path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    found = sorted(path.relative_to(snapshot) for path in snapshot.rglob("*") if path.is_file())
    assert found == expected, f"{found} is not {expected}"
    for name in expected:
        path = hf_hub_download(repository, name.as_posix(), local_files_only=True)
        assert Path(path).read_bytes() == (Path(folder) / name).read_bytes(), name
        print(name)
    scanned = scan_cache_dir()
    assert not scanned.warnings, scanned.warnings
    (repo,) = scanned.repos
    assert repo.repo_id == repository and repo.refs.keys() == {"main"}, repo


def lacks(repository, name):
    assert not isinstance(try_to_load_from_cache(repository, name), str)
    try:
        hf_hub_download(repository, name, local_files_only=True)
    except LocalEntryNotFoundError:
        return
    raise AssertionError(f"{name} is there")


def downloads(repository):
    print(snapshot_download(repository))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
