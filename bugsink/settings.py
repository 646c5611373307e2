"""Bugsink's settings for Docker, with a SECRET_KEY that is made at the first start and then kept."""

import os
import secrets
import tempfile
from pathlib import Path

from bugsink_conf import *
from bugsink_conf import SECRET_KEY


def read_or_create_key(path: Path) -> str:
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(secrets.token_urlsafe(48))
            draft.flush()
            os.fsync(draft.fileno())
            # Gunicorn and the task runner start together. A link either is made whole or exists
            # already, so both read the same key and never half of one.
            try:
                os.link(draft.name, path)
            except FileExistsError:
                pass
    return path.read_text()


SECRET_KEY = SECRET_KEY or read_or_create_key(Path("/data/secret_key"))
