"""Tests of the pages of the daemon."""
