# SPDX-License-Identifier: Apache-2.0
"""What several tests of hostile input share."""

CANARY = "canary-of-the-host"


def up(path):
    """A name that leads to an absolute path from wherever it is looked at."""
    return "../" * 30 + str(path).lstrip("/")
