# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation needs beside the code: published weights, and a doctor."""
