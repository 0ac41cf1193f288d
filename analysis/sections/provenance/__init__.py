"""The versions, commits and machines that made the results."""

TITLE = "Provenance"
TABLES = {
    "provenance": "kind name value runs studies probes",
}
TEXT = "kind name value"
