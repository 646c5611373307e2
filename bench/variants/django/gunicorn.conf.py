import os
from pathlib import Path

chdir = str(Path(__file__).parent)
bind = f"127.0.0.1:{os.environ['PORT']}"
workers = 1
loglevel = "warning"
