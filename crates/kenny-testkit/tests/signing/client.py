"""Fetches one target with python-tuf, the reference client: SERVER TOKEN ROOT_JSON STATE_FOLDER TARGET.

Prints where the target lies. The folder keeps what the client trusts from one run to the next.
"""

import sys
from pathlib import Path

import urllib3
from tuf.ngclient import FetcherInterface, Updater


class Fetcher(FetcherInterface):
    """Plain GETs; the token goes with targets only."""

    def __init__(self, token):
        self.http = urllib3.PoolManager()
        self.token = token

    def _fetch(self, url):
        from tuf.api.exceptions import DownloadHTTPError

        headers = {"Authorization": f"Bearer {self.token}"} if "/tuf/targets/" in url else {}
        response = self.http.request("GET", url, headers=headers, timeout=30)
        if response.status >= 400:
            raise DownloadHTTPError(f"HTTP {response.status}", response.status)
        yield response.data


server, token, root, state, target = sys.argv[1:]
metadata, targets = Path(state, "metadata"), Path(state, "targets")
metadata.mkdir(exist_ok=True)
targets.mkdir(exist_ok=True)
updater = Updater(
    metadata_dir=str(metadata),
    metadata_base_url=f"{server}/tuf/metadata/",
    target_dir=str(targets),
    target_base_url=f"{server}/tuf/targets/",
    fetcher=Fetcher(token),
    bootstrap=Path(root).read_bytes(),
)
updater.refresh()
found = updater.get_targetinfo(target)
if found is None:
    sys.exit(f"{target} is not signed")
print(updater.download_target(found))
