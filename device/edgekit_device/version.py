"""The version of the installed agent."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edgekit-device")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
