"""The shell file that runs on hosts; a package so that wheels carry it."""
