"""Imports what is not there."""

import nowhere
