"""Bugsink's settings for Docker, with a SECRET_KEY that is generated on the first start and then kept."""

import os
import re
import secrets
import sys
import tempfile
from pathlib import Path

from bugsink_conf import *
from bugsink_conf import SECRET_KEY

# Every Bugsink process starts here: an invalid setting ends in one helpful line instead of a
# traceback. The login is secret, so it's not repeated.
if not re.fullmatch(r"[0-9a-fA-F]{32}", os.environ["PROJECT_KEY"]):
    sys.exit(f"BUGSINK_PROJECT_KEY is {os.environ['PROJECT_KEY']!r}, but must be 32 hex digits.")
if not re.fullmatch(r"[^:@\s]+@[^:@\s]+:.+", os.environ["CREATE_SUPERUSER"]):
    sys.exit("BUGSINK_LOGIN must be email:password, without spaces in the email.")


def read_or_create_key(path: Path) -> str:
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(secrets.token_urlsafe(48))
            draft.flush()
            os.fsync(draft.fileno())
            # Gunicorn and the task runner start together. Creating a link is atomic, so both read
            # the same complete key.
            try:
                os.link(draft.name, path)
            except FileExistsError:
                pass
    return path.read_text()


SECRET_KEY = SECRET_KEY or read_or_create_key(Path("/data/secret_key"))
