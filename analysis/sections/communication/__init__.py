"""Returns against rounds of communication and bytes sent, of algorithms whose workers send something."""

TITLE = "Communication"
TABLES = {"communication": "task algorithm step rounds megabytes_sent n mean low high"}
TEXT = "task algorithm"
FIGURES = {"communication": "Return against rounds and bytes"}
AVERAGES = "runs"
