import sys

from aureus.up import run

sys.exit(run())
