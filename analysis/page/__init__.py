"""The frame of the page, in HTML and in Markdown."""
