"""The networks that were found, without what is off: exact, small, and plain to use elsewhere."""

from bregman_nas.export.small import load as load
