"""Every claim of the grid with its verdict, and what that rests on."""

TITLE = "Claims"
TABLES = {
    "claims": (
        "claim statement source rule claim_verdict comparison metric first second direction smallest_effect "
        "scale claimed_low claimed_high effect low high furthest least most tasks unit n_first n_second asked verdict "
        "reason against rests_on left_out figure"
    ),
    "claim_tasks": (
        "claim comparison task effect low high without without_low without_high n_first n_second verdict note"
    ),
}
TEXT = (
    "task note reason source verdict scale metric claim statement rule claim_verdict first second direction unit "
    "against left_out rests_on figure furthest"
)
