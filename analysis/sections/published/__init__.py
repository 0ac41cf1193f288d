"""Final scores beside published ones."""

TITLE = "Against published scores"
TABLES = {
    "published": (
        "task algorithm requested n budget source reference published_task version version_change steps "
        "metric metric_text ours ours_low ours_high published_n published published_spread spread_kind published_low "
        "published_high difference difference_low difference_high normalized_difference normalized_difference_low "
        "normalized_difference_high method verdict because reason settings differences time_limits note"
    ),
}
TEXT = (
    "task algorithm note reason reference source verdict settings method published_task version version_change "
    "metric metric_text spread_kind because differences time_limits"
)
FIGURES = {
    "published_scores": "Ours and theirs, side by side",
}
