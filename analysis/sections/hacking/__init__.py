"""The true return beside the return that is learned from, where a task reports what its reward is a proxy of."""

TITLE = "Proxy and true return"
TABLES = {
    "true_curves": "task algorithm seed step true_return moving_average",
    "true_intervals": "task algorithm step n mean low high",
    "true_peaks": "task algorithm n peak_step peak_true peak_proxy end_true end_proxy",
}
TEXT = "task algorithm"
FIGURES = {"proxy_and_true": "What is learned from, and what is wanted"}
AVERAGES = "runs"
