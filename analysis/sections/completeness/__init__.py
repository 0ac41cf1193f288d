"""Every run, study and probe that was asked for, with its state."""

TITLE = "Completeness"
TABLES = {
    "ledger": "task algorithm seed state steps steps_taken updates episodes seconds directory note",
    "ledger_jobs": "kind directory state note",
}
TEXT = "task algorithm state directory note kind"
