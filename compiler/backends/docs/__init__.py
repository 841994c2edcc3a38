"""The IR as a document for people: Markdown, HTML, LaTeX."""
