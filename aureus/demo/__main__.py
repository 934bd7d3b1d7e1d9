"""`python -m aureus.demo [--home DIR] [--keep]`."""

import argparse
import sys
from pathlib import Path

from aureus.demo import run

words = argparse.ArgumentParser(prog="aureus demo", description="A whole story on this machine, told in a minute.")
words.add_argument("--home", type=Path, help="a new or empty folder for everything; it is kept")
words.add_argument("--keep", action="store_true", help="go on running after the story, until Ctrl-C")
given = words.parse_args()
sys.exit(run(given.home, keep=given.keep))
